//! The protobuf messages of an event file, as far as scalars need them.
//!
//! Source: TensorBoard, `tensorboard/compat/proto/{event,summary}.proto`:
//! ```proto
//! message Event {
//!   double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5;
//!   SessionLog session_log = 7;
//! }
//! message Summary {
//!   message Value { string tag = 1; float simple_value = 2; }
//!   repeated Value value = 1;
//! }
//! message SessionLog { enum SessionStatus { START = 1; } SessionStatus status = 1; }
//! ```

/// The content of an event besides its time and step.
pub enum What<'a> {
    /// The first event of a file: which revision of the format follows.
    Version,
    /// A process starts here; earlier files' values for this and later steps are to be discarded.
    Start,
    /// Tags and their values. The format holds single precision.
    Scalars(&'a [(&'a str, f64)]),
}

/// The bytes of one `Event`. `wall_time` is in seconds since 1970, `step` in model updates.
pub fn encode(wall_time: f64, step: u64, what: What) -> Vec<u8> {
    let mut event = Vec::new();
    tag(&mut event, 1, FIXED64);
    event.extend_from_slice(&wall_time.to_le_bytes());
    if step != 0 {
        tag(&mut event, 2, VARINT);
        varint(&mut event, step);
    }
    match what {
        What::Version => bytes(&mut event, 3, b"brain.Event:2"),
        What::Start => bytes(&mut event, 7, &[1 << 3 | VARINT, 1]),
        What::Scalars(scalars) => {
            let mut summary = Vec::new();
            for (name, number) in scalars {
                let mut value = Vec::new();
                bytes(&mut value, 1, name.as_bytes());
                tag(&mut value, 2, FIXED32);
                value.extend_from_slice(&(*number as f32).to_le_bytes());
                bytes(&mut summary, 1, &value);
            }
            bytes(&mut event, 5, &summary);
        }
    }
    event
}

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED32: u8 = 5;

/// A field's number (all are below 16, so one byte) and how its value is written.
fn tag(out: &mut Vec<u8>, field: u8, wire: u8) {
    out.push(field << 3 | wire);
}

fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    tag(out, field, LENGTH);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Seven bits a byte, lowest first; the top bit means that more follow.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(step: u64, what: What) -> String {
        encode(1.5, step, what).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    // from tensorboard.compat.proto.summary_pb2 import Summary
    // V = Summary.Value
    // values = [V(tag="loss", simple_value=.5), V(tag="natural", simple_value=83.25)]
    // for e in [Event(wall_time=1.5, file_version="brain.Event:2"),
    //           Event(wall_time=1.5, step=391, summary=Summary(value=values)),
    //           Event(wall_time=1.5, step=392, session_log=SessionLog(status=SessionLog.START))]:
    //     print(e.SerializeToString().hex())
    #[test]
    fn events_as_tensorboard_writes_them() {
        assert_eq!(hex(0, What::Version), "09000000000000f83f1a0d627261696e2e4576656e743a32");
        assert_eq!(
            hex(391, What::Scalars(&[("loss", 0.5), ("natural", 83.25)])),
            "09000000000000f83f1087032a1d0a0b0a046c6f7373150000003f0a0e0a076e61747572616c150080a642"
        );
        assert_eq!(hex(392, What::Start), "09000000000000f83f1088033a020801");
    }

    #[test]
    fn varints_of_one_two_and_ten_bytes() {
        let of = |value| {
            let mut out = Vec::new();
            varint(&mut out, value);
            out
        };
        assert_eq!(of(127), [0x7f]);
        assert_eq!(of(300), [0xac, 0x02]); // the example of the protobuf encoding page
        assert_eq!(of(u64::MAX).len(), 10);
    }
}
