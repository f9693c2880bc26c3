//! The spans of the log for programs. There is one for every request, and lines have no more of it than its fields and its name: the
//! library's registry, which keeps whatever layers have of a span, takes several times as long.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::Metadata;
use tracing::span::Id;

/// The number of parts, so that threads rarely wait for each other.
const PARTS: usize = 16;

thread_local! {
    /// The part that has the spans of this thread.
    static PART: Cell<Option<usize>> = const { Cell::new(None) };
    /// The spans that this thread is in, the innermost last.
    static ENTERED: RefCell<Vec<Id>> = const { RefCell::new(Vec::new()) };
}

/// The spans that there are.
#[derive(Debug, Default)]
pub(super) struct Spans {
    parts: [Mutex<Part>; PARTS],
}

#[derive(Debug, Default)]
struct Part {
    places: Vec<Option<Span>>,
    free: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Span {
    pub(super) metadata: &'static Metadata<'static>,
    /// A JSON object.
    pub(super) fields: String,
    references: usize,
}

impl Spans {
    /// Adds a span.
    pub(super) fn add(&self, metadata: &'static Metadata<'static>, fields: String) -> Id {
        let part = own_part();
        let mut spans = self.part(part);
        let place = spans.free.pop().unwrap_or_else(|| {
            spans.places.push(None);
            spans.places.len() - 1
        });
        spans.places[place] = Some(Span { metadata, fields, references: 1 });
        Id::from_u64((place * PARTS + part) as u64 + 1)
    }

    /// Works with a span, if there is one of this id.
    pub(super) fn with<T>(&self, id: &Id, work: impl FnOnce(&mut Span) -> T) -> Option<T> {
        let (part, place) = place_of(id);
        self.part(part).places.get_mut(place)?.as_mut().map(work)
    }

    /// Works with the span that this thread is in.
    pub(super) fn with_current<T>(&self, work: impl FnOnce(&Id, &mut Span) -> T) -> Option<T> {
        let id = entered(|entered| entered.last().cloned())??;
        self.with(&id, |span| work(&id, span))
    }

    /// Counts one more who has the span.
    pub(super) fn share(&self, id: &Id) {
        self.with(id, |span| span.references += 1);
    }

    /// Counts one less, and returns whether that was the last.
    pub(super) fn release(&self, id: &Id) -> bool {
        let (part, place) = place_of(id);
        let mut spans = self.part(part);
        let Some(span) = spans.places.get_mut(place) else { return false };
        let Some(Span { references, .. }) = span else { return false };
        *references -= 1;
        if *references > 0 {
            return false;
        }
        *span = None;
        spans.free.push(place);
        true
    }

    fn part(&self, part: usize) -> MutexGuard<'_, Part> {
        // Nothing that is done under the lock panics.
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes that this thread is in a span.
pub(super) fn enter(id: &Id) {
    entered(|entered| entered.push(id.clone()));
}

/// Notes that it no longer is.
pub(super) fn exit(id: &Id) {
    entered(|entered| {
        if let Some(place) = entered.iter().rposition(|entered| entered == id) {
            entered.remove(place);
        }
    });
}

/// Works with the spans that this thread is in; not at the very end of a thread, when it has none any more.
fn entered<T>(work: impl FnOnce(&mut Vec<Id>) -> T) -> Option<T> {
    ENTERED.try_with(|entered| work(&mut entered.borrow_mut())).ok()
}

fn own_part() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    PART.get().unwrap_or_else(|| {
        let part = THREADS.fetch_add(1, Ordering::Relaxed) % PARTS;
        PART.set(Some(part));
        part
    })
}

/// Returns the part that has a span, and its place there.
fn place_of(id: &Id) -> (usize, usize) {
    // It was one of these.
    let number = usize::try_from(id.into_u64() - 1).unwrap_or(usize::MAX);
    (number % PARTS, number / PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> &'static Metadata<'static> {
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            tracing::info_span!("work").metadata().unwrap()
        })
    }

    #[test]
    fn a_span_is_there_until_nobody_has_it() {
        let (spans, metadata) = (Spans::default(), metadata());
        let (one, two) = (spans.add(metadata, "{1}".to_owned()), spans.add(metadata, "{2}".to_owned()));
        let fields = |id| spans.with(id, |span| span.fields.clone());
        spans.share(&one);
        assert!(!spans.release(&one));
        assert_eq!((fields(&one).as_deref(), fields(&two).as_deref()), (Some("{1}"), Some("{2}")));
        assert!(spans.release(&one));
        assert_eq!((fields(&one), fields(&two).as_deref()), (None, Some("{2}")));
        assert!(!spans.release(&one), "it is gone");
        // Its place is taken again.
        assert_eq!(spans.add(metadata, String::new()), one);
    }

    #[test]
    fn spans_of_all_threads_are_told_apart() {
        let (spans, metadata) = (&Spans::default(), metadata());
        let work = |thread: usize| {
            let text = |number| format!("{thread} {number}");
            let ids: Vec<Id> = (0..100).map(|number| spans.add(metadata, text(number))).collect();
            for (number, id) in ids.iter().enumerate() {
                assert_eq!(spans.with(id, |span| span.fields.clone()), Some(text(number)));
                assert!(spans.release(id));
            }
        };
        std::thread::scope(|scope| {
            (0..2 * PARTS).for_each(|thread| drop(scope.spawn(move || work(thread))));
        });
    }

    #[test]
    fn the_current_span_is_the_one_that_was_entered_last_and_not_left() {
        let (spans, metadata) = (Spans::default(), metadata());
        let [one, two] = ["1", "2"].map(|fields| spans.add(metadata, fields.to_owned()));
        let current = || spans.with_current(|_, span| span.fields.clone());
        assert_eq!(current(), None);
        enter(&one);
        enter(&two);
        enter(&one);
        exit(&one);
        assert_eq!(current().as_deref(), Some("2"));
        exit(&one);
        assert_eq!(current().as_deref(), Some("2"));
        exit(&two);
        assert_eq!(current(), None);
    }
}
