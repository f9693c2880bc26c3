//! Key ids that nobody published: more at once than the server remembers, each of which could be a key that is new.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{StatusCode, Version};
use local_tenant::{Fault, KeysAnswer};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Target;
use super::http2::{Http2, Sender};
use super::message::Message;
use crate::requests::with_kid;

const CONNECTIONS: usize = 11;
/// On each connection at once: what the server permits.
const REQUESTS: usize = 100;
/// Waves until the key endpoint hangs, or answers again.
const WAVES: usize = 4;
const PAUSE: Duration = Duration::from_millis(500);

/// Sends waves of requests, in phases: the key endpoint answers, then it hangs.
pub(super) async fn run(target: Target) {
    let mut number = 0;
    for keys in [KeysAnswer::Good, KeysAnswer::Hang].into_iter().cycle() {
        target.tenant.inject(&Fault::Keys(keys));
        for _ in 0..WAVES {
            wave(&target, &mut number).await;
            sleep(PAUSE).await;
        }
    }
}

async fn wave(target: &Target, number: &mut usize) {
    let message = Message::request_of("tools/list", None, "", "");
    let (mut connections, mut requests) = (Vec::new(), JoinSet::new());
    for _ in 0..CONNECTIONS {
        let Ok(connection) = Http2::open(target.address, None).await else {
            continue;
        };
        for _ in 0..REQUESTS {
            *number += 1;
            let token = with_kid(&target.token, &format!("made-up-{number}"));
            requests.spawn(ask(target.clone(), connection.sender(), message.clone(), token));
        }
        connections.push(connection);
    }
    requests.join_all().await;
}

async fn ask(target: Target, mut sender: Sender<Full<Bytes>>, message: Message, token: String) {
    let Ok(request) = message.request(Version::HTTP_2, &token) else {
        return;
    };
    if let Ok((head, body)) = sender.begin(&target, request).await {
        let _ = body.collect().await;
        if head.status == StatusCode::OK {
            target.journal.violation("a key that nobody published is trusted");
        }
    }
}
