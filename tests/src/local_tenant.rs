//! local_tenant
