//! The protobuf messages of an event file, as far as foil writes them.
//!
//! Source: TensorBoard, `tensorboard/compat/proto/{event,summary}.proto`:
//! ```proto
//! message Event {
//!   double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5;
//!   SessionLog session_log = 7;
//! }
//! message Summary {
//!   message Image {
//!     int32 height = 1; int32 width = 2; int32 colorspace = 3; bytes encoded_image_string = 4;
//!   }
//!   message Value {
//!     string tag = 1; float simple_value = 2; Image image = 4; SummaryMetadata metadata = 9;
//!   }
//!   repeated Value value = 1;
//! }
//! message SummaryMetadata {
//!   message PluginData { string plugin_name = 1; bytes content = 2; }
//!   PluginData plugin_data = 1;
//! }
//! message SessionLog { enum SessionStatus { START = 1; } SessionStatus status = 1; }
//! ```

use super::message::Message;
use super::{Png, hparams};

/// The content of an event besides its time and step.
pub enum What<'a> {
    /// The first event of a file: which revision of the format follows.
    Version,
    /// A process starts here; earlier files' values for this and later steps are to be discarded.
    Start,
    /// Tags and their values. The format holds single precision.
    Scalars(&'a [(&'a str, f64)]),
    /// A tag and its image.
    Image(&'a str, &'a Png),
    /// What TensorBoard's page of hyper-parameters shows.
    Hparams(&'a [hparams::Part]),
}

/// The bytes of one `Event`. `wall_time` is in seconds since 1970, `step` in model updates.
pub fn encode(wall_time: f64, step: u64, what: What) -> Vec<u8> {
    let event = Message::default().double(1, wall_time);
    let event = if step == 0 { event } else { event.whole(2, step) };
    let event = match what {
        What::Version => event.bytes(3, b"brain.Event:2"),
        What::Start => event.message(7, Message::default().whole(1, 1)),
        What::Scalars(scalars) => {
            let value = |(tag, number): &(&str, f64)| Message::default().bytes(1, tag).float(2, *number);
            event.message(5, summary(scalars.iter().map(value)))
        }
        What::Image(tag, png) => {
            let image = Message::default().whole(1, u64::from(png.height)).whole(2, u64::from(png.width));
            let image = image.whole(3, u64::from(png.channels)).bytes(4, &png.bytes);
            event.message(5, summary([Message::default().bytes(1, tag).message(4, image)]))
        }
        What::Hparams(parts) => {
            let value = |part: &hparams::Part| {
                let data = Message::default().bytes(1, "hparams").bytes(2, &part.content);
                Message::default().bytes(1, part.tag).message(9, Message::default().message(1, data))
            };
            event.message(5, summary(parts.iter().map(value)))
        }
    };
    event.done()
}

fn summary(values: impl IntoIterator<Item = Message>) -> Message {
    values.into_iter().fold(Message::default(), |summary, value| summary.message(1, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(step: u64, what: What) -> String {
        encode(1.5, step, what).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    // from tensorboard.compat.proto.summary_pb2 import Summary
    // V = Summary.Value; I = Summary.Image
    // values = [V(tag="loss", simple_value=.5), V(tag="natural", simple_value=83.25)]
    // image = I(height=1, width=300, colorspace=3, encoded_image_string=b"png")
    // for e in [Event(wall_time=1.5, file_version="brain.Event:2"),
    //           Event(wall_time=1.5, step=391, summary=Summary(value=values)),
    //           Event(wall_time=1.5, step=7, summary=Summary(value=[V(tag="x", image=image)])),
    //           Event(wall_time=1.5, step=392, session_log=SessionLog(status=SessionLog.START))]:
    //     print(e.SerializeToString().hex())
    #[test]
    fn events_as_tensorboard_writes_them() {
        assert_eq!(hex(0, What::Version), "09000000000000f83f1a0d627261696e2e4576656e743a32");
        assert_eq!(
            hex(391, What::Scalars(&[("loss", 0.5), ("natural", 83.25)])),
            "09000000000000f83f1087032a1d0a0b0a046c6f7373150000003f0a0e0a076e61747572616c150080a642"
        );
        let png = Png { width: 300, height: 1, channels: 3, bytes: b"png".to_vec() };
        assert_eq!(hex(7, What::Image("x", &png)), "09000000000000f83f10072a130a110a0178220c080110ac0218032203706e67");
        assert_eq!(hex(392, What::Start), "09000000000000f83f1088033a020801");
    }
}
