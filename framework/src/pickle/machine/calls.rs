//! Names and calls in a pickle: from arguments to data.

use super::super::Fault;
use super::super::value::{Array, Callable, Id, Storage, Strided, Value, bytes_of};
use super::{Done, MOST, Machine, TOO_MANY};

const SHAPE: Fault = Fault::Broken("a tensor is not described as PyTorch does");

impl<'a> Machine<'a> {
    fn value(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        match self.value(id) {
            Value::Text(span) => std::str::from_utf8(bytes_of(self.bytes, *span)).ok(),
            _ => None,
        }
    }

    pub(super) fn global(&mut self, module: &str, name: &str) -> Done {
        let printed = |text: &str| text.escape_default().take(200).collect::<String>();
        let known = Callable::of(module, name);
        let known = known.ok_or_else(|| Fault::Global(format!("{}.{}", printed(module), printed(name))))?;
        self.push(Value::Callable(known))
    }

    /// A storage: `("storage", type, key, device, number of elements)`, and in old files a sixth
    /// entry.
    pub(super) fn persistent(&mut self, id: Id) -> Done {
        const NO_STORAGE: Fault = Fault::Broken("a storage is not described as PyTorch does");
        let Value::Tuple(items) = self.value(id) else { return Err(NO_STORAGE) };
        let &[what, kind, key, _, numel, ref rest @ ..] = items.as_slice() else { return Err(NO_STORAGE) };
        if let [view] = rest
            && !matches!(self.value(*view), Value::None)
        {
            return Err(Fault::Unknown("a view of a storage, as PyTorch before 0.4 wrote it".into()));
        }
        let storage = match (self.text(what), self.value(kind), self.value(key), self.value(numel)) {
            (Some("storage"), Value::Callable(Callable::Storage(kind)), Value::Text(key), Value::Int(numel)) => {
                Storage { kind: *kind, key: *key, numel: u64::try_from(*numel).map_err(|_| NO_STORAGE)? }
            }
            _ => return Err(NO_STORAGE),
        };
        self.push(Value::Storage(storage))
    }

    pub(super) fn call(&mut self, callable: Id, arguments: Id) -> Done {
        let Value::Callable(callable) = *self.value(callable) else {
            return Err(Fault::Broken("the pickle calls something that is not a function"));
        };
        let Value::Tuple(arguments) = self.value(arguments) else {
            return Err(Fault::Broken("a call's arguments are not a tuple"));
        };
        let arguments = arguments.get(..arguments.len().min(16)).unwrap_or_default().to_vec();
        arguments.iter().try_for_each(|&id| self.copying(id))?;
        let arguments: &[Id] = &arguments;
        let made = match callable {
            Callable::Tensor => self.tensor(arguments.get(..4).ok_or(SHAPE)?)?,
            Callable::OldTensor => self.tensor(arguments)?,
            Callable::Parameter => {
                let data = *arguments.first().ok_or(SHAPE)?;
                self.stack.push(data);
                return Ok(());
            }
            Callable::Dict => Value::Dict(self.items(arguments)?, None),
            Callable::Namespace => Value::Dict(Vec::new(), None),
            Callable::Size => Value::Tuple(match arguments {
                [] => Vec::new(),
                [sizes, ..] => self.sequence(*sizes).ok_or(SHAPE)?.to_vec(),
            }),
            Callable::Set => Value::Other("a set"),
            Callable::Array => Value::Array(None),
            Callable::Dtype => Value::Dtype(arguments.first().copied().filter(|name| self.text(*name).is_some())),
            Callable::Other(what) => Value::Other(what),
            Callable::Storage(_) => return Err(Fault::Unknown("a storage within the pickle".into())),
        };
        self.push(made)
    }

    fn copying(&mut self, id: Id) -> Done {
        let (Value::Tuple(items) | Value::List(items)) = self.value(id) else {
            let Value::Dict(items, _) = self.value(id) else { return Ok(()) };
            return self.count(items.len());
        };
        self.count(items.len())
    }

    fn count(&mut self, copied: usize) -> Done {
        self.copied += copied;
        if self.copied > MOST { Err(Fault::Unknown(TOO_MANY.into())) } else { Ok(()) }
    }

    fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.value(id) {
            Value::Tuple(items) | Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The items of a dictionary constructor: from nothing, a list of pairs, or another
    /// dictionary.
    fn items(&self, arguments: &[Id]) -> Done<Vec<(Id, Id)>> {
        let Some(&last) = arguments.last() else { return Ok(Vec::new()) };
        match self.value(last) {
            Value::Dict(items, _) => Ok(items.clone()),
            Value::List(entries) => entries
                .iter()
                .map(|&entry| match self.sequence(entry) {
                    Some(&[key, value]) => Ok((key, value)),
                    _ => Err(Fault::Broken("a dictionary's entry is not a pair")),
                })
                .collect(),
            _ => Ok(Vec::new()),
        }
    }

    /// `(storage, offset, shape, strides)`.
    fn tensor(&self, arguments: &[Id]) -> Done<Value> {
        let &[storage, offset, shape, strides] = arguments else { return Err(SHAPE) };
        let (Value::Storage(stored), Value::Int(offset)) = (self.value(storage), self.value(offset)) else {
            return Err(SHAPE);
        };
        let (kind, offset) = (stored.kind, *offset);
        let numbers = |id| {
            let number = |&id: &Id| match self.value(id) {
                Value::Int(n) => Ok(*n),
                _ => Err(SHAPE),
            };
            self.sequence(id).ok_or(SHAPE)?.iter().take(64).map(number).collect::<Done<Vec<i64>>>()
        };
        let (shape, strides) = (numbers(shape)?, numbers(strides)?);
        if Strided::checked(offset, &shape, &strides, stored.numel).is_none() {
            return Err(Fault::Broken("a tensor lies outside its storage"));
        }
        Ok(Value::Tensor(Box::new(Strided { storage, kind, offset, shape, strides })))
    }

    /// A namespace's attributes are its content; an `OrderedDict` has some in addition; attributes
    /// of other objects do not matter.
    pub(super) fn attributes(&mut self) -> Done {
        let state = self.pop()?;
        self.copying(state)?;
        let top = self.top()?;
        let given = match self.value(state) {
            Value::Dict(items, _) => Some(items.clone()),
            _ => None,
        };
        let content = match self.value(state) {
            // (version, shape, dtype, whether by columns, bytes)
            Value::Tuple(parts) => match parts.as_slice() {
                &[_, shape, dtype, by_columns, data] => Some(Box::new(Array { shape, dtype, by_columns, data })),
                _ => None,
            },
            _ => None,
        };
        match &mut self.values[top as usize] {
            Value::Dict(items, attributes) => {
                if items.is_empty() {
                    items.extend(given.unwrap_or_default());
                }
                *attributes = Some(state);
            }
            Value::Array(array) => *array = content,
            Value::Other(_) | Value::Dtype(_) => {}
            _ => return Err(Fault::Broken("it sets attributes on something that is not an object")),
        }
        Ok(())
    }
}
