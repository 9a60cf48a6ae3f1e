//! A checkpoint: the state_dicts that a file holds, and the values beside them.

use super::container::{self, Container};
use foil::pickle::{Id, Strided, Table, Value};
use foil::tensors::{MOST_TENSORS, Named};
use foil::{Error, Result};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::Path;
use tch::{Kind, Tensor};

/// Names under which published code keeps the weights to use, in order of preference. Averaged
/// weights (`ema`) come last, because papers differ in which they report; `--key` selects them.
const KEYS: [&str; 10] =
    ["", "state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "ema_state_dict", "ema"];

/// An open checkpoint; its tensors are read when they are asked for.
#[derive(Debug)]
pub struct Checkpoint {
    container: Container,
    /// Every dictionary of tensors that the file holds.
    pub dicts: Vec<StateDict>,
    /// Other values in it, as text: `epoch: 99`.
    pub beside: Vec<String>,
}

/// A dictionary of tensors.
#[derive(Debug, Clone)]
pub struct StateDict {
    /// Where it is in the file, as in `checkpoint.state_dict`; empty for the whole.
    pub key: String,
    /// Its tensors, in the file's order.
    pub tensors: Vec<StoredTensor>,
    /// Texts that foil stored with it: a model card, if foil wrote the file.
    pub texts: HashMap<String, String>,
}

impl StateDict {
    /// The tensors whose names begin with `start.`, without that prefix; `None` if there are none.
    pub(super) fn beginning(&self, start: &str) -> Option<Self> {
        let named = |t: &StoredTensor| {
            Some(StoredTensor { name: t.name.strip_prefix(start)?.strip_prefix('.')?.into(), ..t.clone() })
        };
        let tensors: Vec<StoredTensor> = self.tensors.iter().filter_map(named).collect();
        (!tensors.is_empty()).then(|| Self { key: start.to_string(), tensors, texts: self.texts.clone() })
    }

    /// The prefixes of its names, up to the first dot, each once.
    pub(super) fn beginnings(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for (start, _) in self.tensors.iter().filter_map(|t| t.name.split_once('.')) {
            if found.last().is_none_or(|last| last != start) && !found.iter().any(|known| known == start) {
                found.push(start.to_string());
            }
        }
        found
    }
}

/// A tensor in the file.
#[derive(Debug, Clone)]
pub struct StoredTensor {
    /// Its name.
    pub name: String,
    /// Its number format.
    pub kind: Kind,
    /// Its shape.
    pub shape: Vec<i64>,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Strided(Box<Strided>),
    /// Under this name, which differs from the entry's if a prefix was removed.
    Named(String),
}

impl StoredTensor {
    /// Where its data begin in the file: entries with the same origin are one tensor under two
    /// names.
    pub(super) fn origin(&self) -> Option<(Id, i64)> {
        match &self.place {
            Place::Strided(strided) => Some((strided.storage, strided.offset)),
            Place::Named(_) => None,
        }
    }
}

impl Checkpoint {
    /// Opens a file of `torch.save` or safetensors. Nothing in it is executed.
    ///
    /// # Errors
    /// When it is neither, is truncated, or holds Python objects other than tensors, numbers,
    /// strings and their containers.
    pub fn open(path: &Path) -> Result<Self> {
        let container = container::open(path)?;
        let (dicts, beside) = match &container {
            Container::PyTorch { table, .. } => walk(table).map_err(|e| e.context(path.display()))?,
            Container::Safetensors(named, texts) => {
                let tensors = named.iter().map(|(name, tensor)| StoredTensor {
                    name: name.clone(),
                    kind: tensor.kind(),
                    shape: tensor.size(),
                    place: Place::Named(name.clone()),
                });
                (vec![StateDict { key: String::new(), tensors: tensors.collect(), texts: texts.clone() }], Vec::new())
            }
        };
        Ok(Self { container, dicts, beside })
    }

    /// The dictionary at `key`, or the tensors whose names begin with `key.`; without a key the
    /// dictionary whose name says that it holds the weights.
    ///
    /// # Errors
    /// When there is none, or the choice is ambiguous; then all are listed.
    pub fn choose(&self, key: Option<&str>) -> Result<StateDict> {
        let known: Vec<&str> = self.dicts.iter().map(|dict| dict.key.as_str()).collect();
        if let Some(key) = key {
            let found = self.dicts.iter().find(|dict| dict.key == key).cloned();
            let found = found.or_else(|| self.dicts.iter().find_map(|dict| dict.beginning(key)));
            return found
                .ok_or_else(|| Error::new(format!("the file has no tensors under `{key}`")).help(self.sets(key)));
        }
        let last = |dict: &&StateDict, name: &str| dict.key.rsplit('.').next() == Some(name);
        let by_name = KEYS.iter().find_map(|name| self.dicts.iter().find(|dict| last(dict, name)));
        match (by_name, self.dicts.as_slice()) {
            (Some(dict), _) | (None, [dict]) => Ok(dict.clone()),
            (None, []) => Err(Error::new("the file holds no tensors by name").help(self.beside_or_nothing())),
            (None, _) => Err(Error::new(format!("the file holds several sets of weights: {}", known.join(", ")))
                .help("say which: --key NAME")),
        }
    }

    /// The sets of weights that could have been meant by `key`.
    fn sets(&self, key: &str) -> String {
        let named: Vec<&str> = self.dicts.iter().map(|dict| dict.key.as_str()).filter(|key| !key.is_empty()).collect();
        let top = self.dicts.iter().find(|dict| dict.key.is_empty());
        let top = top.map(|dict| format!("the top level has {} tensors: leave --key out", dict.tensors.len()));
        let named = (!named.is_empty()).then(|| foil_config::suggest(key, &named, "known"));
        match (named, top) {
            (None, None) => self.beside_or_nothing(),
            (named, top) => named.into_iter().chain(top).collect::<Vec<_>>().join("; "),
        }
    }

    fn beside_or_nothing(&self) -> String {
        match self.beside.as_slice() {
            [] => "was it saved with torch.save(model.state_dict(), …)?".into(),
            beside => format!("it holds {}", beside.join(", ")),
        }
    }

    /// Reads an entry of this file.
    ///
    /// # Errors
    /// When the file is truncated.
    pub fn tensor(&mut self, entry: &StoredTensor) -> Result<Tensor> {
        match (&mut self.container, &entry.place) {
            (Container::PyTorch { table, storages }, Place::Strided(strided)) => {
                storages.tensor(table, strided).map_err(|e| e.context(format!("`{}`", entry.name)))
            }
            (Container::Safetensors(named, _), Place::Named(name)) => named
                .get(name)
                .map(Tensor::shallow_clone)
                .ok_or_else(|| Error::new(format!("the file has no `{}`", entry.name))),
            _ => Err(Error::new(format!("`{}` is of another file", entry.name))),
        }
    }

    /// Reads several entries, by name.
    ///
    /// # Errors
    /// As [`Checkpoint::tensor`].
    pub fn tensors<'a>(&mut self, entries: impl IntoIterator<Item = (String, &'a StoredTensor)>) -> Result<Named> {
        entries.into_iter().map(|(name, entry)| Ok((name, self.tensor(entry)?))).collect::<Result<BTreeMap<_, _>>>()
    }
}

/// Dictionaries of tensors within `DEPTH` keys of the top, and the plain values beside them.
fn walk(table: &Table) -> Result<(Vec<StateDict>, Vec<String>)> {
    const DEPTH: usize = 16;
    const SHOWN: usize = 40;
    const LONGEST_KEY: usize = 500;
    let mut count = 0;
    let (mut dicts, mut beside) = (Vec::new(), Vec::new());
    let mut seen = HashSet::from([table.root]);
    let mut queue: VecDeque<(Id, String, usize)> = VecDeque::from([(table.root, String::new(), 0)]);
    if !matches!(table.get(table.root), Value::Dict(..) | Value::List(_) | Value::Tuple(_)) {
        beside.extend(word(table, table.root));
    }
    while let Some((id, path, depth)) = queue.pop_front() {
        let (items, attributes) = match table.get(id) {
            Value::Dict(items, attributes) => {
                (items.iter().map(|&(key, value)| (name_of(table, key), value)).collect(), *attributes)
            }
            // Entries of a list are named by their indices.
            Value::List(items) | Value::Tuple(items) => {
                let places = items.iter().take(MOST_PLACES).enumerate();
                (places.map(|(place, &value)| (Some(place.to_string()), value)).collect::<Vec<_>>(), None)
            }
            _ => continue,
        };
        // An optimiser's state per parameter is not a set of weights.
        let optimizes = items.iter().any(|(name, _)| name.as_deref() == Some("param_groups"));
        let is_list = !matches!(table.get(id), Value::Dict(..));
        let mut tensors = Vec::new();
        for (name, value) in items {
            let Some(name) = name.filter(|name| name.len() <= LONGEST_KEY) else { continue };
            if optimizes && name == "state" {
                continue;
            }
            let inner = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
            match table.get(value) {
                Value::Tensor(strided) if !is_list => tensors.push(StoredTensor {
                    name: name.clone(),
                    kind: strided.kind,
                    shape: strided.shape.clone(),
                    place: Place::Strided(strided.clone()),
                }),
                Value::Dict(..) if depth < DEPTH && seen.insert(value) => queue.push_back((value, inner, depth + 1)),
                Value::List(items) | Value::Tuple(items)
                    if depth < DEPTH && holds_dicts(table, items) && seen.insert(value) =>
                {
                    queue.push_back((value, inner, depth + 1));
                }
                _ if beside.len() < SHOWN => beside.extend(word(table, value).map(|word| format!("{inner}: {word}"))),
                _ => {}
            }
        }
        count += tensors.len();
        if count > MOST_TENSORS {
            return Err(Error::new(format!("it holds more than {MOST_TENSORS} tensors, as no network does")));
        }
        if !tensors.is_empty() {
            dicts.push(StateDict { key: path, tensors, texts: texts(table, attributes) });
        }
    }
    Ok((dicts, beside))
}

/// How many entries of a list are searched.
const MOST_PLACES: usize = 1000;

/// Whether a list may contain weights: dictionaries with tensors or with nested dictionaries.
fn holds_dicts(table: &Table, items: &[Id]) -> bool {
    let is_inner = |id: Id| matches!(table.get(id), Value::Tensor(_) | Value::Dict(..));
    let has_some = |&id: &Id| match table.get(id) {
        Value::Dict(items, _) => items.iter().any(|&(_, value)| is_inner(value)),
        _ => false,
    };
    items.iter().take(MOST_PLACES).any(has_some)
}

/// A key as text: a name, or a number such as an epoch's.
fn name_of(table: &Table, key: Id) -> Option<String> {
    match table.get(key) {
        Value::Text(span) => Some(table.text(*span).to_string()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The attribute `foil` of a state_dict that foil wrote.
fn texts(table: &Table, attributes: Option<Id>) -> HashMap<String, String> {
    let foil = attributes.and_then(|id| container::find(table, id, "foil"));
    let Some(Value::Dict(items, _)) = foil.map(|id| table.get(id)) else { return HashMap::new() };
    let texts = items.iter().filter_map(|&(key, value)| Some((table.as_text(key)?, table.as_text(value)?)));
    texts.map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

fn word(table: &Table, id: Id) -> Option<String> {
    Some(match table.get(id) {
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(span) => format!("{:?}", table.text(*span).chars().take(40).collect::<String>()),
        Value::Tuple(items) | Value::List(items) => format!("{} entries", items.len()),
        Value::Tensor(strided) => format!("a tensor {:?}", strided.shape),
        Value::Array(_) => "a numpy array".to_string(),
        Value::Other(what) => (*what).to_string(),
        _ => return None,
    })
}
