//! What `foil explain` says of a pipeline's keys.

use foil::registry::manual::{Fallback, Key, keys};
use foil::registry::plugins;
use foil_runs::pipeline::root_schema;

fn key(path: &str) -> Key {
    keys(&root_schema()).into_iter().find(|key| key.path == path).unwrap()
}

#[test]
fn the_keys_of_a_pipeline_in_words() {
    assert_eq!(key("attack").takes, "an attack");
    assert_eq!(key("attack").components, ["attack"]);
    assert_eq!(key("attack").fallback, Fallback::Required);
    assert_eq!(key("attacks").takes, "a map from names of your own, each to an attack");
    assert_eq!(key("data").takes, "a data set");
    assert_eq!(key("images").takes, "a map");
    assert_eq!(key("seed").fallback, Fallback::Value("0".into()));
    assert_eq!(key("evaluate").takes, "a list, each text");
    assert_eq!(key("evaluate").fallback, Fallback::Value("[natural]".into()));
    assert_eq!(key("name").fallback, Fallback::Unset);
    assert_eq!(key("train.epochs").bounds, "1 to 1000000");
    assert_eq!(key("train.checkpoint_steps").takes, "a whole number");
    assert_eq!(key("augment").takes, "a list, each an augmentation");
    assert_eq!(key("augment").components, ["augment"]);
    let words: Vec<String> = key("train.batch_norm").choices.into_iter().map(|(word, _)| word).collect();
    assert_eq!(words, ["local", "sync"]);
}

#[test]
fn every_key_and_every_word_means_something() {
    let all = plugins().into_iter().map(|plugin| (plugin.name(), plugin.schema())).chain([("pipeline", root_schema())]);
    for (name, schema) in all {
        assert!(!schema["description"].as_str().unwrap_or_default().is_empty(), "{name} has no description");
        for key in keys(&schema) {
            assert!(!key.about.is_empty() && !key.takes.is_empty(), "{name}: {key:?}");
            assert!(key.choices.iter().all(|(_, about)| !about.is_empty()), "{name}: {key:?}");
        }
    }
}
