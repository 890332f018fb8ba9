//! The lists of boxes that MuseTalk keeps as pickles, read as data.
//!
//! A pickle is a program for a stack machine. This one knows lists, tuples, numbers and the two names that numpy's
//! numbers are made with; any other name is refused, so that nothing is ever called.
//! Opcodes and their arguments are those of Python's `pickletools`, protocols 3 to 5, which every Python 3 writes.
//!
//! Texts and bytes stay where they are in the pickle, so that a long one costs nothing however often it is
//! recalled.

use std::cmp::Ordering;

/// Most values that a list of boxes may have: an hour of video, forward and backward.
const MOST_VALUES: usize = 4_000_000;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Value<'a> {
    Nothing,
    Integer(i64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// A list or a tuple, by its place in the machine: the second half of MuseTalk's lists holds the very boxes of the
    /// first, and a list is remembered before it is filled.
    Sequence(usize),
    /// `numpy.dtype`, or the maker of numpy's numbers.
    Name(Maker),
    /// A type of numpy's numbers, like `i8` or `f4`.
    Type(&'a str),
    Mark,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Maker {
    Type,
    Scalar,
}

/// Reads a list of boxes: each four numbers, in a list or a tuple. Fractions are cut off.
pub(super) fn boxes(pickle: &[u8]) -> Result<Vec<[i32; 4]>, String> {
    let mut machine = Machine::new(pickle);
    let Value::Sequence(rows) = machine.run()? else {
        return Err("it holds no list".to_owned());
    };
    machine.sequences[rows].iter().map(|row| machine.rect(row)).collect()
}

struct Machine<'a> {
    input: &'a [u8],
    stack: Vec<Value<'a>>,
    memo: Vec<Value<'a>>,
    sequences: Vec<Vec<Value<'a>>>,
    /// Values that were made so far: what the input can make of the memory is bounded.
    made: usize,
}

impl<'a> Machine<'a> {
    fn new(input: &'a [u8]) -> Self {
        Self { input, stack: Vec::new(), memo: Vec::new(), sequences: Vec::new(), made: 0 }
    }

    fn rect(&self, row: &Value<'_>) -> Result<[i32; 4], String> {
        let Value::Sequence(sides) = row else {
            return Err("a box is no list of numbers".to_owned());
        };
        let sides = &self.sequences[*sides];
        let mut out = [0; 4];
        if sides.len() != out.len() {
            return Err(format!("a box of {} numbers", sides.len()));
        }
        for (side, out) in sides.iter().zip(&mut out) {
            let number = match side {
                Value::Integer(number) => *number,
                Value::Float(number) if number.is_finite() => *number as i64,
                _ => return Err("a box with something that is no number".to_owned()),
            };
            *out = i32::try_from(number).map_err(|_| format!("a box with the number {number}"))?;
        }
        Ok(out)
    }

    fn run(&mut self) -> Result<Value<'a>, String> {
        loop {
            let op = self.byte()?;
            if op == b'.' {
                return self.pop();
            }
            self.step(op)?;
        }
    }

    fn step(&mut self, op: u8) -> Result<(), String> {
        match op {
            // PROTO, FRAME: nothing to be done.
            0x80 => self.take(1).map(drop),
            0x95 => self.take(8).map(drop),
            b'(' => self.push(Value::Mark),
            b'N' => self.push(Value::Nothing),
            // NEWTRUE, NEWFALSE
            0x88 => self.push(Value::Integer(1)),
            0x89 => self.push(Value::Integer(0)),
            b'J' => self.number(4, true),
            b'M' => self.number(2, false),
            b'K' => self.number(1, false),
            // LONG1
            0x8a => {
                let length = usize::from(self.byte()?);
                self.number(length, true)
            }
            b'G' => {
                let bytes = self.array()?;
                self.push(Value::Float(f64::from_be_bytes(bytes)))
            }
            // BINUNICODE, SHORT_BINUNICODE
            b'X' | 0x8c => {
                let text = self.sized(if op == b'X' { 4 } else { 1 })?;
                let text = std::str::from_utf8(text).map_err(|_| "a text that is none".to_owned())?;
                self.push(Value::Text(text))
            }
            // BINBYTES, SHORT_BINBYTES
            b'B' | b'C' => {
                let bytes = self.sized(if op == b'B' { 4 } else { 1 })?;
                self.push(Value::Bytes(bytes))
            }
            b']' | b')' => self.sequence(Vec::new()),
            b't' => {
                let items = self.since_mark()?;
                self.sequence(items)
            }
            // TUPLE1, TUPLE2, TUPLE3
            0x85..=0x87 => {
                let start = self.stack.len().checked_sub(usize::from(op - 0x84)).ok_or_else(cut)?;
                let items = self.stack.split_off(start);
                self.sequence(items)
            }
            b'a' => {
                let item = self.pop()?;
                self.list()?.push(item);
                Ok(())
            }
            b'e' => {
                let items = self.since_mark()?;
                self.list()?.extend(items);
                Ok(())
            }
            // MEMOIZE, BINPUT, LONG_BINPUT
            0x94 => self.remember(self.memo.len()),
            b'q' => {
                let at = usize::from(self.byte()?);
                self.remember(at)
            }
            b'r' => {
                let at = u32::from_le_bytes(self.array()?);
                self.remember(at as usize)
            }
            // BINGET, LONG_BINGET
            b'h' => {
                let at = usize::from(self.byte()?);
                self.recall(at)
            }
            b'j' => {
                let at = u32::from_le_bytes(self.array()?);
                self.recall(at as usize)
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.name(&module, &name)
            }
            // STACK_GLOBAL
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => self.name(module, name),
                _ => Err("a name that is no text".to_owned()),
            },
            b'R' => self.reduce(),
            b'b' => self.build(),
            other => Err(format!("opcode {other:#04x} has no place in a list of boxes")),
        }
    }

    /// The two names that numpy's numbers are made with; their modules moved in numpy 2.
    fn name(&mut self, module: &str, name: &str) -> Result<(), String> {
        let maker = match (module, name) {
            ("numpy", "dtype") => Maker::Type,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Maker::Scalar,
            _ => return Err(format!("it names {module}.{name}, which is not called here")),
        };
        self.push(Value::Name(maker))
    }

    /// `dtype("i8", …)` and `scalar(dtype, bytes)`.
    fn reduce(&mut self) -> Result<(), String> {
        let arguments = self.pop()?;
        let (Value::Name(maker), Value::Sequence(arguments)) = (self.pop()?, arguments) else {
            return Err("a call of something that is not called here".to_owned());
        };
        let value = match (maker, &self.sequences[arguments][..]) {
            (Maker::Type, [Value::Text(kind), ..]) => Value::Type(kind),
            (Maker::Scalar, [Value::Type(kind), Value::Bytes(bytes)]) => scalar(kind, bytes)?,
            _ => return Err("a number of numpy's that is made in another way".to_owned()),
        };
        self.push(value)
    }

    /// The state of a number type tells its byte order: everything here is little-endian.
    fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        let little = matches!(state, Value::Sequence(state)
            if matches!(self.sequences[state].get(1), Some(Value::Text("<" | "|"))));
        match self.stack.last() {
            Some(Value::Type(_)) if little => Ok(()),
            Some(Value::Type(_)) => Err("numbers in another byte order".to_owned()),
            _ => Err("a state for something that has none".to_owned()),
        }
    }

    /// A little-endian number.
    fn number(&mut self, length: usize, signed: bool) -> Result<(), String> {
        let bytes = self.take(length)?;
        if length > 8 {
            return Err("a number beyond 64 bits".to_owned());
        }
        let negative = signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..length].copy_from_slice(bytes);
        self.push(Value::Integer(i64::from_le_bytes(wide)))
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), String> {
        self.made += 1;
        if self.made > MOST_VALUES {
            return Err(format!("more than {MOST_VALUES} values"));
        }
        self.stack.push(value);
        Ok(())
    }

    fn sequence(&mut self, items: Vec<Value<'a>>) -> Result<(), String> {
        self.sequences.push(items);
        self.push(Value::Sequence(self.sequences.len() - 1))
    }

    fn pop(&mut self) -> Result<Value<'a>, String> {
        self.stack.pop().ok_or_else(cut)
    }

    fn list(&mut self) -> Result<&mut Vec<Value<'a>>, String> {
        match self.stack.last() {
            Some(Value::Sequence(items)) => Ok(&mut self.sequences[*items]),
            _ => Err("an item without its list".to_owned()),
        }
    }

    fn since_mark(&mut self) -> Result<Vec<Value<'a>>, String> {
        let mark = self.stack.iter().rposition(|value| *value == Value::Mark).ok_or_else(cut)?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    /// Numbers are written in order, so that a gap is damage. So is a value that is remembered again and again:
    /// the memo never has more values than were made.
    fn remember(&mut self, at: usize) -> Result<(), String> {
        let value = *self.stack.last().ok_or_else(cut)?;
        match at.cmp(&self.memo.len()) {
            Ordering::Less => self.memo[at] = value,
            Ordering::Equal if at < self.made => self.memo.push(value),
            Ordering::Equal | Ordering::Greater => return Err(cut()),
        }
        Ok(())
    }

    fn recall(&mut self, at: usize) -> Result<(), String> {
        let value = *self.memo.get(at).ok_or_else(cut)?;
        self.push(value)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// Bytes behind their own length, which has `width` bytes.
    fn sized(&mut self, width: usize) -> Result<&'a [u8], String> {
        let mut length = [0; 4];
        length[..width].copy_from_slice(self.take(width)?);
        self.take(u32::from_le_bytes(length) as usize)
    }

    fn line(&mut self) -> Result<String, String> {
        let end = self.input.iter().position(|&byte| byte == b'\n').ok_or_else(cut)?;
        let line = String::from_utf8_lossy(&self.input[..end]).into_owned();
        self.input = &self.input[end + 1..];
        Ok(line)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.input.split_at_checked(count).ok_or_else(cut)?;
        self.input = rest;
        Ok(taken)
    }
}

/// One number of numpy's, little-endian.
fn scalar(kind: &str, bytes: &[u8]) -> Result<Value<'static>, String> {
    let wrong = || format!("a number of type {kind} with {} bytes", bytes.len());
    let float = |value: f64| Ok(Value::Float(value));
    match kind {
        "f8" => float(f64::from_le_bytes(bytes.try_into().map_err(|_| wrong())?)),
        "f4" => float(f32::from_le_bytes(bytes.try_into().map_err(|_| wrong())?).into()),
        "i8" => Ok(Value::Integer(i64::from_le_bytes(bytes.try_into().map_err(|_| wrong())?))),
        "i4" => Ok(Value::Integer(i32::from_le_bytes(bytes.try_into().map_err(|_| wrong())?).into())),
        "i2" => Ok(Value::Integer(i16::from_le_bytes(bytes.try_into().map_err(|_| wrong())?).into())),
        _ => Err(wrong()),
    }
}

fn cut() -> String {
    "it is cut off or damaged".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text of a megabyte that is recalled thousands of times once took gigabytes.
    #[test]
    fn recalled_texts_and_bytes_are_those_of_the_pickle() {
        for op in [b'X', b'B'] {
            // Three characters, remembered as number 0, and recalled.
            let pickle = [&[op, 3, 0, 0, 0], b"abcq\0h\0".as_slice()].concat();
            let mut machine = Machine::new(&pickle);
            while !machine.input.is_empty() {
                let op = machine.byte().unwrap();
                machine.step(op).unwrap();
            }
            for value in &machine.stack {
                let place = match value {
                    Value::Text(text) => text.as_ptr(),
                    Value::Bytes(bytes) => bytes.as_ptr(),
                    other => panic!("{other:?}"),
                };
                assert_eq!(place, pickle[5..].as_ptr());
            }
            assert_eq!(machine.stack.len(), 2);
        }
    }

    #[test]
    fn a_value_cannot_be_remembered_without_end() {
        // MEMOIZE of one value, over and over: a byte of input each.
        let pickle = [b"N".as_slice(), &[0x94; 1000], b"]."].concat();
        assert_eq!(boxes(&pickle), Err(cut()));
        assert_eq!(boxes(b"]\x94."), Ok(Vec::new()), "once is usual");
    }
}
