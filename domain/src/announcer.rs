//! Telling whoever listens that something on offer has changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Which tools there are.
    Tools,
    /// Which prompts there are.
    Prompts,
    /// Which resources there are.
    Resources,
    /// The content of the resource at this URI.
    Resource(String),
    /// The configuration was read again: who may see what may be different now.
    Reloaded,
    /// Nothing more will be told: the server is ending.
    Ending,
}

type Listener = Box<dyn Fn(&Change) + Send + Sync>;

/// Passes changes on to its listeners, in order. Cheap to clone; clones share their listeners.
#[derive(Clone, Default)]
pub struct Announcer(Arc<Mutex<Listeners>>);

#[derive(Default)]
struct Listeners {
    next: u64,
    /// [`Change::Ending`] was announced; who comes later hears of it, too.
    is_ending: bool,
    listening: HashMap<u64, Listener>,
}

/// Listens until it is dropped.
pub struct Subscription {
    announcer: Announcer,
    id: u64,
}

impl Announcer {
    /// Tells every listener.
    pub fn announce(&self, change: &Change) {
        let mut listeners = self.lock();
        listeners.is_ending |= *change == Change::Ending;
        for listener in listeners.listening.values() {
            listener(change);
        }
    }

    /// Calls `listener` with every change from now on, for as long as the subscription is kept. It must not block, and must
    /// not announce or subscribe itself.
    #[must_use]
    pub fn subscribe(&self, listener: impl Fn(&Change) + Send + Sync + 'static) -> Subscription {
        let mut listeners = self.lock();
        if listeners.is_ending {
            listener(&Change::Ending);
        }
        let id = listeners.next;
        listeners.next += 1;
        listeners.listening.insert(id, Box::new(listener));
        Subscription { announcer: self.clone(), id }
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.announcer.lock().listening.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_hear_everything_until_they_go() {
        let announcer = Announcer::default();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&heard);
        let subscription = announcer.subscribe(move |change| note.lock().unwrap().push(change.clone()));
        announcer.announce(&Change::Tools);
        announcer.clone().announce(&Change::Resource("a:b".into()));
        drop(subscription);
        announcer.announce(&Change::Prompts);
        assert_eq!(*heard.lock().unwrap(), [Change::Tools, Change::Resource("a:b".into())]);
    }

    #[test]
    fn who_comes_after_the_end_hears_of_it_at_once() {
        let announcer = Announcer::default();
        announcer.announce(&Change::Ending);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&heard);
        let _subscription = announcer.subscribe(move |change| note.lock().unwrap().push(change.clone()));
        assert_eq!(*heard.lock().unwrap(), [Change::Ending]);
    }
}
