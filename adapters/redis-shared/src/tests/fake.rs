//! A server that speaks enough of Redis' protocol, and what it should not, when it is told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::Address;

/// What it does with commands beside those of connecting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Works,
    /// It answers nothing at all.
    Hangs,
    /// It answers everything that writes with this error.
    Fails(&'static str),
    /// It knows no script until it is told.
    Forgot,
    /// It answers scripts with this.
    Says(&'static str),
}

#[derive(Clone)]
pub(crate) struct Fake(Arc<Inner>);

struct Inner {
    port: u16,
    state: Mutex<State>,
    /// The commands so far, each with its arguments.
    commands: watch::Sender<Vec<Vec<String>>>,
    connections: Mutex<JoinSet<()>>,
}

struct State {
    mood: Mood,
    values: HashMap<String, String>,
    subscribers: Vec<(String, mpsc::UnboundedSender<Vec<u8>>)>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = State { mood: Mood::Works, values: HashMap::new(), subscribers: Vec::new() };
        let fake = Self(Arc::new(Inner {
            port: listener.local_addr().unwrap().port(),
            state: Mutex::new(state),
            commands: watch::Sender::default(),
            connections: Mutex::default(),
        }));
        let accepting = fake.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (reader, writer) = socket.into_split();
                accepting.0.connections.lock().unwrap().spawn(accepting.clone().serve(reader, writer));
            }
        });
        fake
    }

    pub(crate) fn address(&self) -> Address {
        Address::parse(&format!("redis://ada:secret@127.0.0.1:{}/3", self.0.port)).unwrap()
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// Closes every connection, as a server that ends does.
    pub(crate) fn close_all(&self) {
        *self.0.connections.lock().unwrap() = JoinSet::new();
        self.state().subscribers.clear();
    }

    /// Sends to whoever subscribed to a channel.
    pub(crate) fn publish(&self, channel: &str, payload: &[u8]) -> usize {
        let mut message = bulk_array(&[b"message", channel.as_bytes()], 3);
        message.extend(bulk(payload));
        let state = self.state();
        let subscribers = state.subscribers.iter().filter(|(to, _)| to == channel);
        subscribers.filter(|(_, subscriber)| subscriber.send(message.clone()).is_ok()).count()
    }

    /// Forgets every subscription, and says nothing of it.
    pub(crate) fn unsubscribe_all(&self) {
        self.state().subscribers.clear();
    }

    pub(crate) fn set(&self, key: &str, value: &str) {
        self.state().values.insert(key.into(), value.into());
    }

    /// Completes once it got this many commands of a name.
    pub(crate) async fn got(&self, name: &str, count: usize) -> Vec<Vec<String>> {
        let of_name = |commands: &[Vec<String>]| -> Vec<Vec<String>> {
            commands.iter().filter(|command| command[0] == name).cloned().collect()
        };
        let mut commands = self.0.commands.subscribe();
        let commands = commands.wait_for(|commands| of_name(commands).len() >= count).await.unwrap();
        of_name(&commands)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    async fn serve(self, reader: OwnedReadHalf, mut writer: OwnedWriteHalf) {
        let mut reader = BufReader::new(reader);
        let (sender, mut published) = mpsc::unbounded_channel();
        loop {
            let answer = tokio::select! {
                command = command(&mut reader) => match command {
                    Some(command) => {
                        let answer = self.answer(&command, &sender);
                        self.0.commands.send_modify(|commands| commands.push(command));
                        answer
                    }
                    None => return,
                },
                Some(message) = published.recv() => message,
            };
            if writer.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, command: &[String], sender: &mpsc::UnboundedSender<Vec<u8>>) -> Vec<u8> {
        let mood = self.state().mood;
        let argument = |index: usize| command.get(index).map_or("", String::as_str);
        match (argument(0), mood) {
            (_, Mood::Hangs) => Vec::new(),
            ("SET" | "EVALSHA" | "PUBLISH", Mood::Fails(error)) => format!("-{error}\r\n").into(),
            ("AUTH" | "SELECT" | "CLIENT", _) => b"+OK\r\n".to_vec(),
            ("SET", _) => {
                self.state().values.insert(argument(1).into(), argument(2).into());
                b"+OK\r\n".to_vec()
            }
            ("GET", _) => match self.state().values.get(argument(1)) {
                Some(value) => bulk(value.as_bytes()),
                None => b"$-1\r\n".to_vec(),
            },
            ("DEL", _) => {
                format!(":{}\r\n", u8::from(self.state().values.remove(argument(1)).is_some())).into()
            }
            ("SUBSCRIBE", _) => {
                self.state().subscribers.push((argument(1).into(), sender.clone()));
                let mut confirmed = bulk_array(&[b"subscribe", argument(1).as_bytes()], 3);
                confirmed.extend(b":1\r\n");
                confirmed
            }
            ("PUBLISH", _) => format!(":{}\r\n", self.publish(argument(1), argument(2).as_bytes())).into(),
            ("SCRIPT", _) => {
                self.is(Mood::Works);
                let state = self.state();
                bulk(state.values["the script"].as_bytes())
            }
            ("EVALSHA", Mood::Forgot) => {
                self.set("the script", argument(1));
                b"-NOSCRIPT No matching script. Please use EVAL.\r\n".to_vec()
            }
            ("EVALSHA", Mood::Says(answer)) => answer.into(),
            // As if nothing was used before.
            ("EVALSHA", _) => {
                let keys: usize = argument(2).parse().unwrap();
                let costs = (0..keys).map(|key| format!(":{}\r\n", argument(3 + keys + 3 * key + 2)));
                format!("*{}\r\n:1795931831\r\n:837165000\r\n{}", keys + 2, costs.collect::<String>()).into()
            }
            (name, _) => format!("-ERR unknown command {name}\r\n").into(),
        }
    }
}

/// Reads a command: an array of bulk strings.
async fn command(reader: &mut BufReader<OwnedReadHalf>) -> Option<Vec<String>> {
    let count = number(reader, '*').await?;
    let mut command = Vec::new();
    for _ in 0..count {
        let mut argument = vec![0; number(reader, '$').await? + 2];
        reader.read_exact(&mut argument).await.ok()?;
        argument.truncate(argument.len() - 2);
        command.push(String::from_utf8_lossy(&argument).into_owned());
    }
    Some(command)
}

async fn number(reader: &mut BufReader<OwnedReadHalf>, mark: char) -> Option<usize> {
    let mut line = String::new();
    reader.read_line(&mut line).await.ok()?;
    line.trim_end().strip_prefix(mark)?.parse().ok()
}

fn bulk(text: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
}

fn bulk_array(texts: &[&[u8]], length: usize) -> Vec<u8> {
    let texts = texts.iter().map(|text| bulk(text));
    [format!("*{length}\r\n").into_bytes()].into_iter().chain(texts).collect::<Vec<_>>().concat()
}
