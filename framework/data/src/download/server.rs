//! A tiny HTTP server on 127.0.0.1 for the tests: it answers a given number of requests, each in a
//! given way.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How to answer one request.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    /// As a good server does: the file, or the part asked for.
    Good,
    /// The same, but the connection dies after this many bytes of content.
    DiesAfter(usize),
    /// The same, but one byte of the content is wrong.
    Damaged,
    /// The whole file, whatever was asked for.
    IgnoresRange,
    /// A page of text with a good status, as a captive portal sends.
    Portal,
    /// No such file.
    NotFound,
    /// More than the file, with no length said.
    Endless,
}

pub(super) struct Server {
    pub url: String,
    thread: JoinHandle<Vec<Option<usize>>>,
}

impl Server {
    pub(super) fn start(content: &[u8], answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/file.bin", listener.local_addr().unwrap());
        let (content, answers) = (content.to_vec(), answers.to_vec());
        let thread = thread::spawn(move || {
            answers.into_iter().map(|answer| reply(&mut listener.accept().unwrap().0, &content, answer)).collect()
        });
        Server { url, thread }
    }

    /// From which byte on each request asked; `None` where it asked for the whole.
    pub(super) fn asked_from(self) -> Vec<Option<usize>> {
        self.thread.join().unwrap()
    }
}

fn reply(stream: &mut TcpStream, content: &[u8], answer: Answer) -> Option<usize> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap() == 0 {
            break;
        }
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap().to_lowercase();
    let asked = request.split("range: bytes=").nth(1).and_then(|rest| rest.split('-').next()?.parse::<usize>().ok());

    let total = content.len();
    let mut content = content.to_vec();
    let mut from = asked.unwrap_or(0);
    match answer {
        Answer::Damaged => content[total - 1] ^= 1,
        Answer::IgnoresRange => from = 0,
        Answer::Endless => content.extend(vec![0; 1000]),
        Answer::Portal => content = b"<html>Please sign in</html>".to_vec(),
        Answer::Good | Answer::DiesAfter(_) | Answer::NotFound => {}
    }
    let body = content.get(from..).unwrap_or_default();
    let status = match answer {
        Answer::NotFound => "HTTP/1.1 404 Not Found".to_string(),
        _ if from > 0 => format!("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{total}", total - 1),
        _ => "HTTP/1.1 200 OK".to_string(),
    };
    let length = match answer {
        Answer::Endless => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    let sent = if let Answer::DiesAfter(n) = answer { &body[..n.min(body.len())] } else { body };
    write!(stream, "{status}\r\n{length}Connection: close\r\n\r\n").unwrap();
    let _ = stream.write_all(sent); // the client may hang up first
    asked
}
