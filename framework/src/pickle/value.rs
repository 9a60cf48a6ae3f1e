//! What a pickle of weights can hold. Values are in one table and refer to each other by index, so
//! no nesting, sharing or cycle in a hostile file costs a stack frame or a copy.

use tch::Kind;

/// The number of a value in its [`Table`].
pub type Id = u32;

/// Bytes of the pickle itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub length: u32,
}

/// One value.
#[derive(Debug, Clone)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// UTF-8, checked.
    Text(Span),
    /// Other bytes.
    Bytes(Span),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// Entries in order, and the additional attributes of an `OrderedDict`.
    Dict(Vec<(Id, Id)>, Option<Id>),
    Callable(Callable),
    Storage(Storage),
    Tensor(Box<Strided>),
    /// A numpy array, once its content was set.
    Array(Option<Box<Array>>),
    /// A numpy dtype, with its name where it has one.
    Dtype(Option<Id>),
    /// Data whose content is not needed, such as a numpy scalar; a description of it.
    Other(&'static str),
}

/// The names that may be called. None of them runs anything: each is one way to build data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callable {
    Dict,
    Namespace,
    Tensor,
    OldTensor,
    Parameter,
    Size,
    Storage(Kind),
    Set,
    Array,
    Dtype,
    Other(&'static str),
}

impl Callable {
    /// The callable for `module.name`, if it is on the list.
    pub fn of(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict" | "defaultdict" | "Counter") => Self::Dict,
            ("argparse", "Namespace") => Self::Namespace,
            ("torch._utils", "_rebuild_tensor_v2") => Self::Tensor,
            ("torch._utils", "_rebuild_tensor") => Self::OldTensor,
            ("torch._utils", "_rebuild_parameter") => Self::Parameter,
            ("torch", "Size") => Self::Size,
            ("torch", "FloatStorage") => Self::Storage(Kind::Float),
            ("torch", "DoubleStorage") => Self::Storage(Kind::Double),
            ("torch", "HalfStorage") => Self::Storage(Kind::Half),
            ("torch", "BFloat16Storage") => Self::Storage(Kind::BFloat16),
            ("torch", "LongStorage") => Self::Storage(Kind::Int64),
            ("torch", "IntStorage") => Self::Storage(Kind::Int),
            ("torch", "ShortStorage") => Self::Storage(Kind::Int16),
            ("torch", "CharStorage") => Self::Storage(Kind::Int8),
            ("torch", "ByteStorage") => Self::Storage(Kind::Uint8),
            ("torch", "BoolStorage") => Self::Storage(Kind::Bool),
            ("torch", "device") => Self::Other("a device"),
            ("torch", "float16" | "float32" | "float64" | "bfloat16" | "int64") => Self::Other("a dtype"),
            ("__builtin__" | "builtins", "set" | "frozenset") => Self::Set,
            ("__builtin__" | "builtins", "int" | "float" | "list" | "dict") => Self::Other("a type"),
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Self::Other("a numpy scalar"),
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Self::Array,
            ("numpy", "dtype") => Self::Dtype,
            ("numpy", "ndarray") => Self::Other("a type"),
            (
                "pathlib" | "pathlib._local",
                "Path" | "PosixPath" | "WindowsPath" | "PurePath" | "PurePosixPath" | "PureWindowsPath",
            ) => Self::Other("a path"),
            ("_codecs", "encode") => Self::Other("bytes"),
            _ => return None,
        })
    }
}

/// A block of numbers, by its name in the file.
#[derive(Debug, Clone)]
pub struct Storage {
    pub kind: Kind,
    pub key: Span,
    pub numel: u64,
}

/// The content of a numpy array, each by the number of its value.
#[derive(Debug, Clone, Copy)]
pub struct Array {
    pub shape: Id,
    pub dtype: Id,
    /// Whether its first index moves fastest.
    pub by_columns: Id,
    /// Its bytes.
    pub data: Id,
}

/// A tensor: a view that lies within a storage.
#[derive(Debug, Clone)]
pub struct Strided {
    pub storage: Id,
    pub kind: Kind,
    pub offset: i64,
    pub shape: Vec<i64>,
    pub strides: Vec<i64>,
}

impl Strided {
    /// The number of elements of `shape`, if the view lies within a storage of `stored` elements.
    ///
    /// An expanded tensor, larger than its storage, is refused, so memory is bounded by the file's
    /// size.
    pub fn checked(offset: i64, shape: &[i64], strides: &[i64], stored: u64) -> Option<i64> {
        let stored = i64::try_from(stored).ok()?;
        if shape.len() != strides.len() || shape.len() > 32 || offset < 0 {
            return None;
        }
        if shape.iter().chain(strides).any(|&n| n < 0) {
            return None;
        }
        let numel = shape.iter().try_fold(1i64, |n, &size| n.checked_mul(size))?;
        if numel == 0 {
            return (offset <= stored).then_some(0);
        }
        let last = shape
            .iter()
            .zip(strides)
            .try_fold(offset, |at, (&size, &stride)| at.checked_add((size - 1).checked_mul(stride)?))?;
        (numel <= stored && last < stored).then_some(numel)
    }
}

/// All values of a pickle, and its bytes.
#[derive(Debug)]
pub struct Table {
    pub bytes: Vec<u8>,
    pub values: Vec<Value>,
    /// The pickle's value.
    pub root: Id,
}

impl Table {
    pub fn get(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    /// The string of a span; its bytes were checked when it was read.
    pub fn text(&self, span: Span) -> &str {
        std::str::from_utf8(bytes_of(&self.bytes, span)).unwrap_or_default()
    }

    /// The value's bytes, if it is bytes or a string.
    pub fn as_bytes(&self, id: Id) -> Option<&[u8]> {
        match self.get(id) {
            Value::Text(span) | Value::Bytes(span) => Some(bytes_of(&self.bytes, *span)),
            _ => None,
        }
    }

    /// The value's string, if it is one.
    pub fn as_text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(span) => Some(self.text(*span)),
            _ => None,
        }
    }
}

pub(super) fn bytes_of(bytes: &[u8], span: Span) -> &[u8] {
    bytes.get(span.start as usize..(span.start + span.length) as usize).unwrap_or_default()
}
