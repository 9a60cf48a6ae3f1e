//! The messages of TensorBoard's page of hyper-parameters.
//!
//! Source: TensorBoard, `tensorboard/plugins/hparams/{plugin_data,api}.proto`:
//! ```proto
//! message HParamsPluginData {
//!   oneof data {
//!     Experiment experiment = 2; SessionStartInfo session_start_info = 3;
//!     SessionEndInfo session_end_info = 4;
//!   }
//! }
//! message Experiment { repeated HParamInfo hparam_infos = 4; repeated MetricInfo metric_infos = 5; }
//! message HParamInfo { string name = 1; DataType type = 4; }
//! enum DataType { STRING = 1; BOOL = 2; FLOAT64 = 3; }
//! message MetricInfo { MetricName name = 1; } message MetricName { string tag = 2; }
//! message SessionStartInfo {
//!   map<string, google.protobuf.Value> hparams = 1; double start_time_secs = 5;
//! }
//! message SessionEndInfo { Status status = 1; double end_time_secs = 2; }
//! enum Status { SUCCESS = 1; }
//! ```

use super::message::Message;
use serde_json::Value;

/// What goes under one of the page's tags.
#[derive(Debug)]
pub struct Part {
    /// The tag.
    pub tag: &'static str,
    /// An `HParamsPluginData`.
    pub content: Vec<u8>,
}

/// A run that begins at `time` (seconds since 1970): its hyper-parameters, and the tags of the
/// scalars that the page shows beside them. Lists, maps and null are shown as text.
pub fn started(hparams: &[(String, Value)], metrics: &[String], time: f64) -> [Part; 2] {
    let kind = |value: &Value| match value {
        Value::Bool(_) => 2,
        Value::Number(_) => 3,
        _ => 1,
    };
    let info = |name: &str, value: &Value| Message::default().bytes(1, name).whole(4, kind(value));
    let experiment = hparams.iter().fold(Message::default(), |all, (name, value)| all.message(4, info(name, value)));
    let experiment = metrics
        .iter()
        .fold(experiment, |all, tag| all.message(5, Message::default().message(1, Message::default().bytes(2, tag))));
    let number = |value: &Value| match value {
        Value::Bool(truth) => Message::default().whole(4, u64::from(*truth)),
        Value::Number(number) => Message::default().double(2, number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Message::default().bytes(3, text),
        other => Message::default().bytes(3, other.to_string()),
    };
    let start = hparams.iter().fold(Message::default(), |all, (name, value)| {
        all.message(1, Message::default().bytes(1, name).message(2, number(value)))
    });
    [
        Part { tag: "_hparams_/experiment", content: Message::default().message(2, experiment).done() },
        Part {
            tag: "_hparams_/session_start_info",
            content: Message::default().message(3, start.double(5, time)).done(),
        },
    ]
}

/// A run that ended well at `time`.
pub fn ended(time: f64) -> Part {
    let end = Message::default().whole(1, 1).double(2, time);
    Part { tag: "_hparams_/session_end_info", content: Message::default().message(4, end).done() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hex(part: &Part) -> String {
        part.content.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // from tensorboard.plugins.hparams import api_pb2 as a, plugin_data_pb2 as p
    // h = a.HParamInfo; names = [("lr", 3), ("deterministic", 2), ("loss", 1)]
    // e = a.Experiment(hparam_infos=[h(name=n, type=t) for n, t in names],
    //                  metric_infos=[a.MetricInfo(name=a.MetricName(tag="accuracy/natural"))])
    // print(p.HParamsPluginData(experiment=e).SerializeToString().hex())
    // s = p.SessionStartInfo(start_time_secs=1.5); s.hparams["lr"].number_value = 0.1
    // print(p.HParamsPluginData(session_start_info=s).SerializeToString().hex())   # and the others
    // e = p.SessionEndInfo(status=1, end_time_secs=2.5)
    // print(p.HParamsPluginData(session_end_info=e).SerializeToString().hex())
    #[test]
    fn parts_as_tensorboard_writes_them() {
        let all = [("lr", json!(0.1)), ("deterministic", json!(true)), ("loss", json!("at"))];
        let all = all.map(|(name, value)| (name.to_string(), value));
        let [experiment, _] = started(&all, &["accuracy/natural".into()], 1.5);
        assert_eq!(
            hex(&experiment),
            "123b22060a026c72200322110a0d64657465726d696e6973746963200222080a046c6f737320012a140a12121061636375726163792f6e61747572616c"
        );
        for (n, expected) in [
            (0, "1a1a0a0f0a026c721209119a9999999999b93f29000000000000f83f"),
            (1, "1a1e0a130a0d64657465726d696e69737469631202200129000000000000f83f"),
            (2, "1a170a0c0a046c6f737312041a02617429000000000000f83f"),
        ] {
            assert_eq!(hex(&started(&all[n..=n], &[], 1.5)[1]), expected);
        }
        assert_eq!(hex(&ended(2.5)), "220b0801110000000000000440");
    }
}
