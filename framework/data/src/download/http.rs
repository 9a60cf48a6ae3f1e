//! One request for the rest of one file.

use super::{Order, Progress};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::http::{HeaderMap, StatusCode, header};
use ureq::typestate::AgentScope;

/// A mirror that is silent for this long is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// Why a request did not bring the rest of the file.
#[derive(Debug)]
pub(super) enum Stop {
    /// The mirror refuses this file: asking again is useless.
    Refused(String),
    /// The connection failed or ended; what came is on disk.
    Broken(String),
    /// This machine's disk refused.
    Disk(std::io::Error),
}

/// The client's settings. A proxy is taken from the environment (`HTTPS_PROXY`, `ALL_PROXY`, …).
pub(super) fn agent() -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(SILENCE))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .user_agent(concat!("foil/", env!("CARGO_PKG_VERSION")))
}

/// Ask `url` for the file from byte `have` on and append it to the `have` bytes of `part`.
///
/// A mirror that sends the whole file instead is fine: `part` then starts over.
pub(super) fn append(
    agent: &Agent,
    url: &str,
    order: &Order,
    part: &Path,
    mut have: u64,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), Stop> {
    let mut request = agent.get(url);
    if have > 0 {
        request = request.header(header::RANGE, format!("bytes={have}-"));
    }
    let mut response = request.call().map_err(|error| Stop::Broken(error.to_string()))?;
    match response.status() {
        StatusCode::PARTIAL_CONTENT if starts_at(response.headers(), have) => {}
        StatusCode::OK => have = 0,
        StatusCode::PARTIAL_CONTENT => {
            return Err(Stop::Refused("it sent a different part than requested".to_string()));
        }
        other => return Err(Stop::Refused(format!("it answered {other}"))),
    }
    let length =
        response.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let Some(found) = length.filter(|length| have + length != order.bytes) {
        let reason = format!("its file has {} bytes, expected {}", have + found, order.bytes);
        return Err(Stop::Refused(reason));
    }
    let mut file = open(part, have).map_err(Stop::Disk)?;
    // One byte more than expected is enough to know that it is too long.
    let mut body = response.body_mut().as_reader().take(order.bytes - have + 1);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) => return Err(Stop::Broken(format!("{error}, after {have} of {} bytes", order.bytes))),
        };
        file.write_all(&buffer[..n]).map_err(Stop::Disk)?;
        have += n as u64;
        progress(Progress::Received { have });
    }
    if have < order.bytes {
        return Err(Stop::Broken(format!("the connection ended after {have} of {} bytes", order.bytes)));
    }
    Ok(())
}

/// `Content-Range: bytes 100-199/200` starts at 100.
fn starts_at(headers: &HeaderMap, have: u64) -> bool {
    let range = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok());
    start == Some(have)
}

/// The part file, cut to its first `have` bytes and written behind them.
fn open(part: &Path, have: u64) -> std::io::Result<File> {
    if have > 0 {
        return OpenOptions::new().append(true).open(part);
    }
    File::create(part)
}
