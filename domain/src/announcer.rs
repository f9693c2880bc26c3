//! Notifications of changes to the catalog, for subscribers: of this replica, and of the others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    /// In the order in which they came, which is commonly that of their memory.
    listening: BTreeMap<u64, Listener>,
    /// Who listens to which resource, so that an update of one calls nobody else.
    of_resource: HashMap<Arc<str>, BTreeSet<u64>>,
    /// Those that bring changes to other replicas.
    sharing: HashMap<u64, Listener>,
}

/// A listener's registration, which ends when this is dropped.
pub struct Subscription {
    announcer: Announcer,
    id: u64,
    /// The resources that it listens to.
    resources: Vec<Arc<str>>,
}

impl Announcer {
    /// Announces a change that was made here: to every listener, and to the other replicas, if there is a way to them.
    pub fn announce(&self, change: &Change) {
        self.deliver(change);
        for share in self.lock().sharing.values() {
            share(change);
        }
    }

    /// Calls every listener of this replica with a change that the others know of, or that is none of theirs.
    pub fn deliver(&self, change: &Change) {
        let mut listeners = self.lock();
        listeners.is_ending |= *change == Change::Ending;
        match change {
            Change::Resource(uri) => {
                let ids = listeners.of_resource.get(uri.as_str()).into_iter().flatten();
                ids.filter_map(|id| listeners.listening.get(id)).for_each(|listener| listener(change));
            }
            _ => listeners.listening.values().for_each(|listener| listener(change)),
        }
    }

    /// Registers what brings changes to the other replicas: it is called with those that are announced here, but not with those
    /// that are delivered. As a listener it must not block, and must not announce or subscribe itself.
    #[must_use]
    pub fn share(&self, share: impl Fn(&Change) + Send + Sync + 'static) -> Subscription {
        let mut listeners = self.lock();
        let id = listeners.new_id();
        listeners.sharing.insert(id, Box::new(share));
        Subscription { announcer: self.clone(), id, resources: Vec::new() }
    }

    /// Registers a listener, which is called with every change from now on, for as long as the subscription is kept; of the updates
    /// of resources, with those of these alone, each of which is named once. It must not block, and must not announce or subscribe
    /// itself.
    #[must_use]
    pub fn subscribe<'a>(
        &self,
        resources: impl IntoIterator<Item = &'a str>,
        listener: impl Fn(&Change) + Send + Sync + 'static,
    ) -> Subscription {
        let mut listeners = self.lock();
        if listeners.is_ending {
            listener(&Change::Ending);
        }
        let id = listeners.new_id();
        listeners.listening.insert(id, Box::new(listener));
        let resources = resources.into_iter().map(|uri| listeners.listens_to(uri, id)).collect();
        Subscription { announcer: self.clone(), id, resources }
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listeners {
    const fn new_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn listens_to(&mut self, uri: &str, id: u64) -> Arc<str> {
        let known = self.of_resource.get_key_value(uri).map(|(uri, _)| Arc::clone(uri));
        let uri = known.unwrap_or_else(|| uri.into());
        self.of_resource.entry(Arc::clone(&uri)).or_default().insert(id);
        uri
    }

    fn listens_no_more_to(&mut self, uri: &str, id: u64) {
        let Some(ids) = self.of_resource.get_mut(uri) else { return };
        ids.remove(&id);
        if ids.is_empty() {
            self.of_resource.remove(uri);
            let length = self.of_resource.len();
            // What is kept of a busy time is little.
            if self.of_resource.capacity() > 8 * length + 64 {
                self.of_resource.shrink_to(2 * length);
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut listeners = self.announcer.lock();
        for uri in &self.resources {
            listeners.listens_no_more_to(uri, self.id);
        }
        let gone = (listeners.listening.remove(&self.id), listeners.sharing.remove(&self.id));
        // Without the lock: what a listener holds may be dropped with it.
        drop(listeners);
        drop(gone);
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
        let subscription = announcer.subscribe([], move |change| log.lock().unwrap().push(change.clone()));
        announcer.announce(&Change::Tools);
        announcer.clone().announce(&Change::Prompts);
        drop(subscription);
        announcer.announce(&Change::Resources);
        assert_eq!(*received.lock().unwrap(), [Change::Tools, Change::Prompts]);
    }

    #[test]
    fn updates_of_a_resource_are_for_those_that_listen_to_it_for_as_long_as_they_do() {
        let announcer = Announcer::default();
        let update = |uri: &str| announcer.announce(&Change::Resource(uri.to_owned()));
        let received = Arc::new(Mutex::new(Vec::new()));
        let listen = |name: &'static str, resources: &[&'static str]| {
            let log = Arc::clone(&received);
            let logged = move |change: &Change| log.lock().unwrap().push((name, change.clone()));
            announcer.subscribe(resources.iter().copied(), logged)
        };
        let (both, second, _none) =
            (listen("both", &["a:1", "a:2"]), listen("second", &["a:2"]), listen("none", &[]));
        let heard = |uri: &str| {
            update(uri);
            let expected = Change::Resource(uri.to_owned());
            let heard: Vec<_> = received.lock().unwrap().drain(..).collect();
            assert!(heard.iter().all(|(_, change)| *change == expected), "{heard:?}");
            heard.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(
            (heard("a:1"), heard("a:2"), heard("a:3")),
            (vec!["both"], vec!["both", "second"], vec![])
        );
        drop(both);
        assert_eq!((heard("a:1"), heard("a:2")), (vec![], vec!["second"]));
        drop(second);
        assert_eq!(heard("a:2"), [""; 0]);
        assert!(announcer.lock().of_resource.is_empty());
    }

    #[test]
    fn what_is_announced_is_shared_and_what_is_delivered_is_not() {
        let announcer = Announcer::default();
        let log = || {
            let log = Arc::new(Mutex::new(Vec::new()));
            let logged = Arc::clone(&log);
            (log, move |change: &Change| logged.lock().unwrap().push(change.clone()))
        };
        let ((heard, listener), (shared, share)) = (log(), log());
        let _subscription = announcer.subscribe([], listener);
        let sharing = announcer.share(share);
        announcer.announce(&Change::Tools);
        announcer.deliver(&Change::Prompts);
        drop(sharing);
        announcer.announce(&Change::Resources);
        assert_eq!(*heard.lock().unwrap(), [Change::Tools, Change::Prompts, Change::Resources]);
        assert_eq!(*shared.lock().unwrap(), [Change::Tools]);
    }

    #[test]
    fn a_listener_after_the_end_gets_it_at_once() {
        let announcer = Announcer::default();
        announcer.announce(&Change::Ending);
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&received);
        let _subscription = announcer.subscribe([], move |change| log.lock().unwrap().push(change.clone()));
        assert_eq!(*received.lock().unwrap(), [Change::Ending]);
    }
}
