//! The stack machine, for those instructions of protocols 2 to 5 that occur in files of weights.

mod calls;

use super::value::{Id, Span, Table, Value};
use super::{Fault, Refused};
use std::collections::HashMap;

/// Values of one pickle. A network has a few thousand; with optimiser and scheduler states, ten
/// times that.
const MOST: usize = 4_000_000;

/// Reads the pickle at the start of `bytes`, which is not longer than `longest`; returns its
/// values, and where it ends.
///
/// # Errors
/// [`Refused`], with the place.
pub fn read(bytes: &[u8], longest: usize) -> Result<(Table, usize), Refused> {
    // Positions are kept in 32 bits.
    let bytes = &bytes[..bytes.len().min(longest).min(u32::MAX as usize)];
    let mut machine = Machine {
        bytes,
        at: 0,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        copied: 0,
    };
    loop {
        let start = machine.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => {
                let (end, values) = (machine.at, machine.values);
                return Ok((Table { bytes: bytes[..end].to_vec(), values, root }, end));
            }
            Err(fault) => return Err(Refused { fault, at: start, near: machine.near() }),
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Number of container entries copied; a file could copy the same ones repeatedly.
    copied: usize,
}

type Done<T = ()> = Result<T, Fault>;

const TOO_MANY: &str = "more values than any checkpoint has";
const SHORT: Fault = Fault::Broken("the pickle ends too early");
const EMPTY: Fault = Fault::Broken("the pickle takes more values than there are");

fn unknown(code: u8) -> Fault {
    Fault::Unknown(format!("instruction 0x{code:02x}, which PyTorch writes no weights with"))
}

impl<'a> Machine<'a> {
    /// One instruction; the root once it is the last. Their codes are those of Python's
    /// `pickletools`; those that only occur in pickles of other programs are refused.
    fn step(&mut self) -> Done<Option<Id>> {
        let code = self.byte()?;
        match code {
            b'.' => return self.pop().map(Some),
            // Protocol and frames are not needed here.
            0x80 => drop(self.byte()?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.above_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' | 0x88 | 0x89 | b'K' | b'M' | b'J' | 0x8a | b'G' => self.number(code)?,
            b'X' | 0x8c | 0x8d | b'U' | b'T' | b'C' | b'B' | 0x8e => self.string(code)?,
            b')' | 0x85..=0x87 | b't' | b']' | 0x8f | b'l' | 0x91 | b'}' | b'd' => self.container(code)?,
            b'a' | b'e' | 0x90 | b's' | b'u' => self.fill(code)?,
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.memoize(code)?,
            b'c' | 0x93 | b'Q' | b'R' | 0x81 | b'b' => self.object(code)?,
            other => return Err(unknown(other)),
        }
        Ok(None)
    }

    /// `None`, a truth value or a number.
    fn number(&mut self, code: u8) -> Done {
        match code {
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'K' => self.integer(1),
            b'M' => self.integer(2),
            b'J' => {
                let bytes = self.array::<4>()?;
                self.push(Value::Int(i32::from_le_bytes(bytes).into()))
            }
            0x8a => {
                let length = self.byte()?.into();
                let bytes = self.take(length)?;
                self.push(long(bytes))
            }
            b'G' => {
                let bytes = self.array::<8>()?;
                self.push(Value::Float(f64::from_be_bytes(bytes)))
            }
            other => Err(unknown(other)),
        }
    }

    /// Text or bytes.
    fn string(&mut self, code: u8) -> Done {
        match code {
            b'X' => self.sized(4, true),
            0x8c => self.sized(1, true),
            0x8d => self.sized(8, true),
            // Python 2 strings are bytes; keys of old files are of this kind.
            b'U' => self.sized(1, true),
            b'T' => self.sized(4, true),
            b'C' => self.sized(1, false),
            b'B' => self.sized(4, false),
            0x8e => self.sized(8, false),
            other => Err(unknown(other)),
        }
    }

    /// A new tuple, list (a set is read as one) or dictionary.
    fn container(&mut self, code: u8) -> Done {
        let value = match code {
            b')' => Value::Tuple(Vec::new()),
            0x85..=0x87 => {
                let from = self.below(usize::from(code - 0x84))?;
                Value::Tuple(self.stack.split_off(from))
            }
            b't' => Value::Tuple(self.above_mark()?),
            b']' | 0x8f => Value::List(Vec::new()),
            b'l' | 0x91 => Value::List(self.above_mark()?),
            b'}' => Value::Dict(Vec::new(), None),
            b'd' => Value::Dict(pairs(&self.above_mark()?)?, None),
            other => return Err(unknown(other)),
        };
        self.push(value)
    }

    /// Adds items to the list or dictionary on the stack.
    fn fill(&mut self, code: u8) -> Done {
        match code {
            b'a' => {
                let item = self.pop()?;
                self.extend_list(&[item])
            }
            b'e' | 0x90 => {
                let items = self.above_mark()?;
                self.extend_list(&items)
            }
            b's' => {
                let from = self.below(2)?;
                let items = self.stack.split_off(from);
                self.extend_dict(&items)
            }
            b'u' => {
                let items = self.above_mark()?;
                self.extend_dict(&items)
            }
            other => Err(unknown(other)),
        }
    }

    /// Keeps the value on top of the stack under a number, or pushes one that was kept.
    fn memoize(&mut self, code: u8) -> Done {
        let number = match code {
            b'q' | b'h' => self.byte()?.into(),
            b'r' | b'j' => u32::from_le_bytes(self.array()?),
            0x94 => self.memo.len() as u32,
            other => return Err(unknown(other)),
        };
        if matches!(code, b'h' | b'j') { self.recall(number) } else { self.remember(number) }
    }

    /// A name, a stored tensor's bytes, a call or an object's attributes.
    fn object(&mut self, code: u8) -> Done {
        match code {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let [Some(module), Some(name)] = [module, name].map(|id| self.text(id)) else {
                    return Err(Fault::Broken("a name is not a string"));
                };
                self.global(module, name)
            }
            b'Q' => {
                let id = self.pop()?;
                self.persistent(id)
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)
            }
            b'b' => self.attributes(),
            other => Err(unknown(other)),
        }
    }

    // Bytes.

    fn take(&mut self, length: usize) -> Done<&'a [u8]> {
        let end = self.at.checked_add(length).ok_or(SHORT)?;
        let taken = self.bytes.get(self.at..end).ok_or(SHORT)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Done<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| SHORT)
    }

    fn byte(&mut self) -> Done<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn line(&mut self) -> Done<&'a str> {
        let rest = &self.bytes[self.at..];
        // A longer name is not valid.
        let length = rest.iter().take(1024).position(|&byte| byte == b'\n').ok_or(SHORT)?;
        let line = self.take(length + 1)?;
        std::str::from_utf8(&line[..length]).map_err(|_| Fault::Broken("a name is not a string"))
    }

    fn integer(&mut self, width: usize) -> Done {
        let bytes = self.take(width)?;
        self.push(long_unsigned(bytes))
    }

    /// Text or bytes behind a length of `width` bytes.
    fn sized(&mut self, width: usize, text: bool) -> Done {
        let length = self.take(width)?.iter().rev().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
        let start = self.at;
        let bytes = self.take(usize::try_from(length).map_err(|_| SHORT)?)?;
        // Both fit: a pickle is shorter than 2^32 bytes.
        let span = Span { start: start as u32, length: bytes.len() as u32 };
        let is_text = text && std::str::from_utf8(bytes).is_ok();
        self.push(if is_text { Value::Text(span) } else { Value::Bytes(span) })
    }

    // The stack.

    fn push(&mut self, value: Value) -> Done {
        if self.values.len() >= MOST {
            return Err(Fault::Unknown(TOO_MANY.into()));
        }
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
        Ok(())
    }

    /// The position of the topmost mark, below which nothing may be popped.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn below(&self, count: usize) -> Done<usize> {
        self.stack.len().checked_sub(count).filter(|&from| from >= self.floor()).ok_or(EMPTY)
    }

    fn pop(&mut self) -> Done<Id> {
        self.below(1)?;
        self.stack.pop().ok_or(EMPTY)
    }

    fn top(&self) -> Done<Id> {
        self.below(1).map(|at| self.stack[at])
    }

    fn above_mark(&mut self) -> Done<Vec<Id>> {
        let from = self.marks.pop().ok_or(EMPTY)?;
        Ok(self.stack.split_off(from))
    }

    fn remember(&mut self, number: u32) -> Done {
        let top = self.top()?;
        self.memo.insert(number, top);
        Ok(())
    }

    fn recall(&mut self, number: u32) -> Done {
        let id = *self
            .memo
            .get(&number)
            .ok_or(Fault::Broken("the pickle reads from its memo what it never stored there"))?;
        self.stack.push(id);
        Ok(())
    }

    fn extend_list(&mut self, items: &[Id]) -> Done {
        match self.top().map(|id| &mut self.values[id as usize])? {
            Value::List(list) => list.extend(items),
            _ => return Err(Fault::Broken("it adds entries to something that is not a list")),
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: &[Id]) -> Done {
        let entries = pairs(items)?;
        match self.top().map(|id| &mut self.values[id as usize])? {
            Value::Dict(dict, _) => dict.extend(entries),
            _ => return Err(Fault::Broken("it adds keys to something that is not a dictionary")),
        }
        Ok(())
    }

    /// The last string on the stack: most likely the key of the current value.
    fn near(&self) -> String {
        let last = self.stack.iter().rev().find_map(|&id| self.text(id));
        last.unwrap_or_default().escape_default().take(60).collect()
    }
}

fn pairs(items: &[Id]) -> Done<Vec<(Id, Id)>> {
    if items.len() % 2 == 1 {
        return Err(Fault::Broken("a dictionary's last key has no value"));
    }
    Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

fn long_unsigned(bytes: &[u8]) -> Value {
    Value::Int(bytes.iter().rev().fold(0, |n, &byte| n << 8 | i64::from(byte)))
}

/// Two's complement, least byte first; larger ones (seeds of random generators) are not needed.
fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::Other("a large integer");
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let filled = if negative { -1i64 } else { 0 };
    Value::Int(bytes.iter().rev().fold(filled, |n, &byte| n << 8 | i64::from(byte)))
}
