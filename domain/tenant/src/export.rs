//! What is wanted, as files for other tools. (Filled by its own modules.)
