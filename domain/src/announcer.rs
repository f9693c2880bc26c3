//! Notifications of changes to the catalog, for subscribers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The list of tools.
    Tools,
    /// The list of prompts.
    Prompts,
    /// The list of resources.
    Resources,
    /// The content of the resource at this URI.
    Resource(String),
    /// The configuration was reloaded: what a principal may see may differ.
    Reloaded,
    /// The server is ending; this is the last change.
    Ending,
}

type Listener = Box<dyn Fn(&Change) + Send + Sync>;

/// Passes changes on to its listeners, in order. Clones are cheap, and share their listeners.
#[derive(Clone, Default)]
pub struct Announcer(Arc<Mutex<Listeners>>);

#[derive(Default)]
struct Listeners {
    next: u64,
    /// [`Change::Ending`] was announced; later listeners get it at once.
    is_ending: bool,
    listening: HashMap<u64, Listener>,
}

/// A listener's registration, which ends when this is dropped.
pub struct Subscription {
    announcer: Announcer,
    id: u64,
}

impl Announcer {
    /// Calls every listener with a change.
    pub fn announce(&self, change: &Change) {
        let mut listeners = self.lock();
        listeners.is_ending |= *change == Change::Ending;
        for listener in listeners.listening.values() {
            listener(change);
        }
    }

    /// Registers a listener, which is called with every change from now on, for as long as the subscription is kept. It must
    /// not block, and must not announce or subscribe itself.
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
    fn listeners_get_every_change_until_they_are_dropped() {
        let announcer = Announcer::default();
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&received);
        let subscription = announcer.subscribe(move |change| log.lock().unwrap().push(change.clone()));
        announcer.announce(&Change::Tools);
        announcer.clone().announce(&Change::Resource("a:b".into()));
        drop(subscription);
        announcer.announce(&Change::Prompts);
        assert_eq!(*received.lock().unwrap(), [Change::Tools, Change::Resource("a:b".into())]);
    }

    #[test]
    fn a_listener_after_the_end_gets_it_at_once() {
        let announcer = Announcer::default();
        announcer.announce(&Change::Ending);
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&received);
        let _subscription = announcer.subscribe(move |change| log.lock().unwrap().push(change.clone()));
        assert_eq!(*received.lock().unwrap(), [Change::Ending]);
    }
}
