//! Every key that takes more than one form (a name, a map of keys, a number, a list, nothing), in
//! each form over each: in a file over what it extends, and on the command line. The keys and their
//! forms are read from the JSON Schemas.

use foil::registry::plugins;
use foil_alp as _;
use foil_at as _;
use foil_attacks as _;
use foil_augmentations as _;
use foil_averages as _;
use foil_cat as _;
use foil_config::{Catalog, FolderOf, Library, Problem, fraction};
use foil_datasets as _;
use foil_distillation as _;
use foil_dkl as _;
use foil_fast as _;
use foil_fat as _;
use foil_hat as _;
use foil_mart as _;
use foil_mma as _;
use foil_models as _;
use foil_optimizers as _;
use foil_runs::pipeline::{Registry, root_schema};
use foil_schedulers as _;
use foil_score as _;
use foil_self_adaptive as _;
use foil_torchscript as _;
use foil_trades as _;
use foil_updates as _;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;

/// The registry, which makes each schema once.
#[derive(Default)]
struct Once(RefCell<HashMap<(String, String), Option<Value>>>);

impl Catalog for Once {
    fn names(&self, kind: &str) -> Vec<String> {
        Registry.names(kind)
    }
    fn schema(&self, kind: &str, name: &str) -> Option<Value> {
        let key = (kind.to_string(), name.to_string());
        self.0.borrow_mut().entry(key).or_insert_with(|| Registry.schema(kind, name)).clone()
    }
    fn check(&self, kind: &str, path: &str, component: &serde_yaml::Value, folder: FolderOf<'_>) -> Vec<Problem> {
        Registry.check(kind, path, component, folder)
    }
    fn load(&self, library: &Library) -> Result<(), (String, String)> {
        Registry.load(library)
    }
}

/// A key, the pipeline around it, and the schemas of which its value must meet one.
struct Key {
    path: String,
    around: Value,
    options: Vec<Value>,
}

/// A plugin's example as a map with its `type`.
fn example(kind: &str, name: &str) -> Value {
    let plugin = plugins().into_iter().find(|plugin| plugin.kind() == kind && plugin.name() == name).unwrap();
    let mut map: Map<String, Value> = serde_yaml::from_str(plugin.example()).unwrap();
    map.insert("type".into(), name.into());
    map.into()
}

/// A right pipeline with this plugin, and the path to it.
fn pipeline(kind: &str, plugin: Value) -> (Value, &'static str) {
    let mut whole = json!({
        "data": "mnist_subset", "model": "small_cnn", "attack": "none", "loss": "at",
        "optimizer": { "type": "sgd", "lr": 0.1 }, "train": { "epochs": 1 },
    });
    let pgd = |objective: Value| json!({ "type": "pgd", "eps": 0.1, "alpha": 0.1, "objective": objective });
    let (path, value) = match kind {
        "objective" => ("attack.objective", pgd(plugin)),
        "scheduler" => ("optimizer.lr", json!({ "type": "sgd", "lr": plugin })),
        "attack" => ("attack", plugin),
        "data" => ("data", plugin),
        "loss" => ("loss", plugin),
        "model" => ("model", plugin),
        "optimizer" => ("optimizer", plugin),
        "update" => ("update", plugin),
        "average" => ("average", plugin),
        _ => return (whole, ""),
    };
    whole[path.split('.').next().unwrap()] = value;
    (whole, path)
}

/// The schemas behind references and alternatives.
fn options(schema: &Value, root: &Value) -> Vec<Value> {
    if let Some(target) = schema["$ref"].as_str() {
        return options(root.pointer(&target[1..]).unwrap(), root);
    }
    match schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()) {
        Some(inner) => inner.iter().flat_map(|inner| options(inner, root)).collect(),
        None => match schema["type"].as_array() {
            Some(types) => types.iter().map(|one| merged(schema, &json!({ "type": one }))).collect(),
            None => vec![schema.clone()],
        },
    }
}

fn merged(a: &Value, b: &Value) -> Value {
    let mut whole = a.as_object().unwrap().clone();
    whole.extend(b.as_object().unwrap().clone());
    whole.into()
}

/// How a value that meets the schema looks.
fn form(option: &Value) -> &str {
    match option {
        _ if option["x-component"].is_string() => "component",
        _ if option["const"].is_string() || option["enum"].is_array() => "string",
        _ => option["type"].as_str().unwrap_or("any"),
    }
}

/// The keys below `schema` that take more than one form.
fn keys(schema: &Value, root: &Value, path: &str, around: &Value, found: &mut Vec<Key>) {
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let options = options(schema, root);
        let (forms, has): (Vec<&str>, _) =
            (options.iter().map(form).collect(), |word| move |form: &&str| *form == word);
        let many = forms.iter().any(|form| *form != forms[0]);
        for option in options.iter().filter(|option| form(option) == "object") {
            let around = match path.as_str() {
                "extra" => &with(around.clone(), "extra", &json!({ "data": "mnist_subset", "share": 0.5 })),
                _ => around,
            };
            keys(option, root, &path, around, found);
            // Maps by names of one's own, such as `attacks`.
            if option["additionalProperties"]["x-component"].is_string() {
                let path = format!("{path}.mine");
                found.push(Key { path, around: around.clone(), options: vec![option["additionalProperties"].clone()] });
            }
        }
        if many || forms.iter().any(&has("component")) {
            found.push(Key { path, around: around.clone(), options });
        }
    }
}

fn all_keys() -> Vec<Key> {
    let mut found = Vec::new();
    let root = root_schema();
    keys(&root, &root, "", &pipeline("", Value::Null).0, &mut found);
    // Entries of a list are replaced with it.
    for plugin in plugins().into_iter().filter(|plugin| plugin.kind() != "augment") {
        let (around, path) = pipeline(plugin.kind(), example(plugin.kind(), plugin.name()));
        keys(&plugin.schema(), &plugin.schema(), path, &around, &mut found);
    }
    found
}

/// Values for the key: of components two with keys of their own and two names, of anything else one
/// or two of each form.
fn values(option: &Value) -> Vec<Value> {
    let of_type = |option: &Value| match form(option) {
        "number" => vec![json!(0.25), json!("1/8")],
        "integer" => vec![json!(3)],
        "string" => vec![json!("word")],
        "boolean" => vec![json!(true)],
        _ => Vec::new(),
    };
    match form(option) {
        "component" => {
            let kind = option["x-component"].as_str().unwrap();
            let of_kind: Vec<_> = plugins().into_iter().filter(|plugin| plugin.kind() == kind).collect();
            let plain =
                |plugin: &&foil::registry::Plugin| plugin.schema()["required"].as_array().is_none_or(Vec::is_empty);
            let maps = of_kind
                .iter()
                .map(|plugin| example(kind, plugin.name()))
                .filter(|map| map.as_object().unwrap().len() > 1);
            let names = of_kind.iter().copied().filter(plain).map(|plugin| json!(plugin.name()));
            maps.take(2).chain(names.take(2)).collect()
        }
        "string" if option["const"].is_string() => vec![option["const"].clone()],
        "string" if option["enum"].is_array() => option["enum"].as_array().unwrap().iter().take(2).cloned().collect(),
        "array" => vec![Value::Array(of_type(&option["items"])), json!([])],
        "object" => {
            let properties = option["properties"].as_object().unwrap();
            let all: Map<String, Value> = properties
                .iter()
                .filter_map(|(key, schema)| {
                    let value = match form(schema) {
                        "array" => Value::Array(of_type(&schema["items"])),
                        "component" => values(schema).pop()?,
                        _ => of_type(schema).first()?.clone(),
                    };
                    Some((key.clone(), value))
                })
                .collect();
            vec![all.into()]
        }
        "null" => vec![Value::Null],
        _ => of_type(option),
    }
}

/// `around` with `value` at `path`; maps on the way are made.
fn with(mut around: Value, path: &str, value: &Value) -> Value {
    let mut at = &mut around;
    for key in path.split('.') {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[key];
    }
    *at = value.clone();
    around
}

/// What the checked pipeline holds at `path`.
fn at<'v>(value: &'v serde_yaml::Value, path: &str) -> Option<&'v serde_yaml::Value> {
    path.split('.').try_fold(value, |value, key| value.get(key))
}

/// What two values have in common that lets them merge: the component they name.
fn component<'v>(value: &'v Value, key: &Key) -> Option<&'v str> {
    let takes = key.options.iter().any(|option| form(option) == "component");
    let name = value.as_str().filter(|text| fraction(text).is_none()).or_else(|| value["type"].as_str());
    name.filter(|_| takes)
}

#[test]
fn each_form_replaces_each() {
    let (schema, catalog) = (root_schema(), Once::default());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, value: &Value| {
        let path = folder.path().join(name);
        fs::write(&path, value.to_string()).unwrap();
        path
    };
    let load = |path: &std::path::Path, overrides: &[String]| foil_config::load(path, overrides, &schema, &catalog);
    let keys = all_keys();
    let (mut pairs, mut seen) = (0, Vec::new());
    for key in &keys {
        let alone = |value: &Value| load(&file("alone.yaml", &with(key.around.clone(), &key.path, value)), &[]);
        let values: Vec<(Value, serde_yaml::Value)> = key
            .options
            .iter()
            .flat_map(values)
            // Some key's range, or its check, may not take one of them.
            .filter_map(|value| Some((value.clone(), alone(&value).ok()?.value)))
            .collect();
        assert!(values.len() > 1, "{} takes none of the values", key.path);
        for (base, _) in &values {
            let base_file = file("base.yaml", &with(key.around.clone(), &key.path, base));
            for (child, expected) in &values {
                // Those merge; see the next test.
                if component(base, key).is_some() && component(base, key) == component(child, key) {
                    continue;
                }
                // What nothing stands for in a base is the default.
                let expected = at(expected, &key.path).filter(|value| !value.is_null());
                let extending = with(json!({ "extends": "base.yaml" }), &key.path, child);
                let mut ways = vec![("extends", load(&file("child.yaml", &extending), &[]))];
                ways.push(("override", load(&base_file, &[format!("{}={child}", key.path)])));
                let dotted = |(inner, value): (&String, &Value)| format!("{}.{inner}={value}", key.path);
                if let Some(map) = child.as_object() {
                    // `type` first, as one would.
                    let (first, rest): (Vec<_>, Vec<_>) = map.iter().partition(|(key, _)| *key == "type");
                    ways.push((
                        "dots",
                        load(&base_file, &first.into_iter().chain(rest).map(dotted).collect::<Vec<_>>()),
                    ));
                }
                for (way, found) in ways {
                    let what = format!("{}: {child} over {base} by {way}", key.path);
                    let found = found.unwrap_or_else(|problems| panic!("{what}: {problems}")).value;
                    let found = at(&found, &key.path).filter(|value| !value.is_null());
                    assert_eq!(found, expected, "{what}");
                    pairs += 1;
                }
            }
        }
        seen.push(key.path.as_str());
    }
    for path in [
        "normalize",
        "attack",
        "model",
        "optimizer.lr",
        "attack.objective",
        "attack.inner",
        "attack.mask",
        "extra.data",
        "attacks.mine",
        "optimizer.lr.then",
    ] {
        assert!(seen.contains(&path), "{path} is not among {seen:?}");
    }
    assert!(seen.len() > 40 && pairs > 1000, "{} keys, {pairs} pairs", seen.len());
}

#[test]
fn forms_of_one_component_merge() {
    let (schema, catalog) = (root_schema(), Once::default());
    let base = |value: &str| {
        format!(
            "{{ data: mnist_subset, model: small_cnn, attack: none, loss: {value}, \
             optimizer: {{ type: sgd, lr: 0.1 }}, train: {{ epochs: 1 }} }}"
        )
    };
    let table = [
        ("{ type: trades, beta: 3 }", "{ beta: 4 }", "{ type: trades, beta: 4 }"),
        ("{ type: trades, beta: 3 }", "trades", "{ type: trades, beta: 3 }"),
        ("{ type: trades, beta: 3 }", "{ type: trades }", "{ type: trades, beta: 3 }"),
        ("trades", "{ beta: 4 }", "{ type: trades, beta: 4 }"),
        ("{ type: trades, beta: 3 }", "mart", "{ type: mart }"),
    ];
    for (below, above, expected) in table {
        let found =
            foil_config::load_str("x.yaml", base(below), &[format!("loss={above}")], &schema, &catalog).unwrap();
        assert_eq!(
            found.value["loss"],
            serde_yaml::from_str::<serde_yaml::Value>(expected).unwrap(),
            "{above} over {below}"
        );
    }
}
