//! Upstreams: what a call of one's tool costs this server beside others, and the list of all of their tools.

use std::fmt::Write as _;
use std::time::Duration;

use crate::client::now;
use crate::growth::law::Expected::{Flat, Linear};
use crate::growth::lists::{cost, list_from};
use crate::growth::setting::SCOPE;
use crate::growth::{Setting, Way};
use crate::measure::ask;
use crate::requests::Era;

/// For a server to have connected to all.
const READY: Duration = Duration::from_mins(1);

pub(super) fn measure(setting: &Setting) -> anyhow::Result<Vec<Way>> {
    let [call, list] = setting.medians(&setting.sizes(1..=50), |size| {
        let upstream = setting.upstream()?;
        let mut config = "[mcp]\npage_size = 10000\n".to_owned();
        for number in 0..size {
            let _ = write!(
                config,
                "[upstreams.u{number}]\nurl = \"http://{}/mcp\"\nprefix = \"u{number}_\"\nscopes = {{ read = [\"{SCOPE}\"] }}\n",
                upstream.address
            );
        }
        let server = [setting.server(&config)?];
        let began = now();
        let all = list_from(None, &setting.seen[0]);
        while String::from_utf8_lossy(&ask(server[0].address, &all)?).matches("_hello\"").count() < size {
            anyhow::ensure!(began.elapsed() < READY, "not all of {size} upstreams are there");
        }
        let call = |token: &String| Era::Modern.call("u0_hello", token);
        Ok([cost(setting, &server, call)?, cost(setting, &server, |token| list_from(None, token))?])
    })?;
    Ok(vec![
        Way::new("a call of one's tool", "upstreams", Flat, call),
        Way::new("`tools/list`, all on a page", "upstreams", Linear, list),
    ])
}
