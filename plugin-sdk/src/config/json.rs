//! A JSON deserializer for serde that does only what the types of the settings need, because all of it is part of every
//! plugin. Floats are parsed only in plugins with floats in their settings.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer, de,
    de::{DeserializeSeed, Error as _, Expected, IntoDeserializer as _, Unexpected, Visitor},
    forward_to_deserialize_any,
};

use super::mistake::Mistake;
use crate::json_value::UNPARSED;

type Result<T> = std::result::Result<T, Mistake>;

/// The rest of the text.
pub(super) struct Reader<'de> {
    rest: &'de str,
}

/// The beginning of a value, or the whole of a short one.
enum Token<'de> {
    Null,
    Bool(bool),
    Number(&'de str),
    Text(Cow<'de, str>),
    List,
    Table,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("`null`"),
            Self::Bool(true) => f.write_str("`true`"),
            Self::Bool(false) => f.write_str("`false`"),
            Self::Number(digits) => write!(f, "`{digits}`"),
            Self::Text(text) => write!(f, "`\"{text}\"`"),
            Self::List => f.write_str("a list"),
            Self::Table => f.write_str("a table"),
        }
    }
}

fn not_json() -> Mistake {
    Mistake::new("it is not JSON")
}

/// Returns an error because the visitor expects another type.
fn mismatch<T>(expected: &dyn Expected) -> Result<T> {
    Err(Mistake::invalid_type(Unexpected::Unit, expected))
}

impl<'de> Reader<'de> {
    pub(super) fn new(text: &'de str) -> Self {
        Self { rest: text }
    }

    /// Checks that everything was read.
    pub(super) fn end(mut self) -> Result<()> {
        if self.peek().is_none() { Ok(()) } else { Err(not_json()) }
    }

    /// Returns the next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.bytes().next()
    }

    /// Consumes a text if it comes next. Returns whether it did.
    fn take(&mut self, what: &str) -> bool {
        self.peek();
        let after = self.rest.strip_prefix(what);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn expect(&mut self, what: &str) -> Result<()> {
        if self.take(what) { Ok(()) } else { Err(not_json()) }
    }

    /// Consumes a number of bytes, which must end at a character boundary.
    fn split(&mut self, length: usize) -> Result<&'de str> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(not_json)?;
        self.rest = rest;
        Ok(taken)
    }

    fn token(&mut self) -> Result<Token<'de>> {
        match self.peek() {
            Some(b'"') => self.text().map(Token::Text),
            Some(b'[') => self.expect("[").map(|()| Token::List),
            Some(b'{') => self.expect("{").map(|()| Token::Table),
            Some(b't') => self.expect("true").map(|()| Token::Bool(true)),
            Some(b'f') => self.expect("false").map(|()| Token::Bool(false)),
            Some(b'n') => self.expect("null").map(|()| Token::Null),
            Some(b'-' | b'0'..=b'9') => {
                let number = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
                let length = self.rest.bytes().take_while(|byte| number(*byte)).count();
                self.split(length).map(Token::Number)
            }
            _ => Err(not_json()),
        }
    }

    /// Reads a text in quotes.
    fn text(&mut self) -> Result<Cow<'de, str>> {
        self.expect("\"")?;
        let mut text = Cow::Borrowed("");
        loop {
            let plain = self.rest.bytes().take_while(|byte| !b"\"\\".contains(byte)).count();
            text += self.split(plain)?;
            if self.split(1)? == "\"" {
                return Ok(text);
            }
            text.to_mut().push(self.escaped()?);
        }
    }

    /// Reads what follows a `\`.
    fn escaped(&mut self) -> Result<char> {
        Ok(match self.split(1)? {
            "b" => '\u{8}',
            "f" => '\u{c}',
            "n" => '\n',
            "r" => '\r',
            "t" => '\t',
            "u" => {
                let first = self.unit()?;
                let pair = self.rest.strip_prefix("\\u").filter(|_| (0xd800..0xdc00).contains(&first));
                let units = match pair {
                    Some(rest) => {
                        self.rest = rest;
                        [first, self.unit()?]
                    }
                    None => [first, 0],
                };
                char::decode_utf16(units).next().and_then(std::result::Result::ok).ok_or_else(not_json)?
            }
            "\"" => '"',
            "\\" => '\\',
            "/" => '/',
            _ => return Err(not_json()),
        })
    }

    /// Reads four hexadecimal digits.
    fn unit(&mut self) -> Result<u16> {
        u16::from_str_radix(self.split(4)?, 16).map_err(|_| not_json())
    }

    /// Skips a value.
    fn skip(&mut self) -> Result<()> {
        match self.token()? {
            Token::List => {
                let mut first = true;
                while self.more("]", &mut first)? {
                    self.skip()?;
                }
            }
            Token::Table => {
                let mut first = true;
                while self.more("}", &mut first)? {
                    self.text()?;
                    self.expect(":")?;
                    self.skip()?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns whether another entry follows in a list or a table.
    fn more(&mut self, end: &str, first: &mut bool) -> Result<bool> {
        if self.take(end) {
            return Ok(false);
        }
        if !std::mem::take(first) {
            self.expect(",")?;
        }
        Ok(true)
    }

    fn visit_integer<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let token = self.token()?;
        let Token::Number(digits) = token else {
            return mismatch(&visitor).map_err(|mistake: Mistake| mistake.with_found(&token));
        };
        let visited = if let Ok(number) = digits.parse::<u64>() {
            visitor.visit_u64(number)
        } else if let Ok(number) = digits.parse::<i64>() {
            visitor.visit_i64(number)
        } else {
            mismatch(&visitor)
        };
        visited.map_err(|mistake: Mistake| mistake.with_found(&token))
    }

    fn visit_float<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let token = self.token()?;
        let number = if let Token::Number(digits) = token { digits.parse::<f64>().ok() } else { None };
        let visited = if let Some(number) = number { visitor.visit_f64(number) } else { mismatch(&visitor) };
        visited.map_err(|mistake: Mistake| mistake.with_found(&token))
    }

    fn visit_text<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let token = self.token()?;
        let visited = match &token {
            Token::Text(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Token::Text(Cow::Owned(text)) => visitor.visit_str(text),
            _ => mismatch(&visitor),
        };
        visited.map_err(|mistake: Mistake| mistake.with_found(&token))
    }

    fn visit_list<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let token = self.token()?;
        if !matches!(token, Token::List) {
            return mismatch(&visitor).map_err(|mistake: Mistake| mistake.with_found(&token));
        }
        let mut first = true;
        let list = List { reader: self, first: &mut first, index: 0 };
        let visited = visitor.visit_seq(list).map_err(|mistake: Mistake| mistake.with_found(&token))?;
        if self.more("]", &mut first)? { Err(Mistake::new("the list is too long")) } else { Ok(visited) }
    }

    fn visit_table<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let token = self.token()?;
        if !matches!(token, Token::Table) {
            return mismatch(&visitor).map_err(|mistake: Mistake| mistake.with_found(&token));
        }
        let table = Table { reader: self, first: true, key: Cow::Borrowed("") };
        visitor.visit_map(table).map_err(|mistake: Mistake| mistake.with_found(&token))
    }
}

/// Defines methods of a `Deserializer` that do the same.
macro_rules! read_as {
    ($visit:ident: $($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            self.$visit(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.peek() {
            Some(b'"') => self.visit_text(visitor),
            Some(b'[') => self.visit_list(visitor),
            Some(b'{') => self.visit_table(visitor),
            Some(b't' | b'f') => self.deserialize_bool(visitor),
            Some(b'n') => self.deserialize_unit(visitor),
            _ => {
                let whole = Reader { rest: self.rest }.token()?;
                let whole = matches!(whole, Token::Number(digits) if !digits.contains(['.', 'e', 'E']));
                if whole { self.visit_integer(visitor) } else { self.visit_float(visitor) }
            }
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let token = self.token()?;
        let visited = if let Token::Bool(value) = token { visitor.visit_bool(value) } else { mismatch(&visitor) };
        visited.map_err(|mistake: Mistake| mistake.with_found(&token))
    }

    read_as!(visit_integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64);
    read_as!(visit_integer: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64);
    read_as!(visit_float: deserialize_f32 deserialize_f64);
    read_as!(visit_text: deserialize_char deserialize_str deserialize_string deserialize_identifier);
    read_as!(visit_list: deserialize_seq);
    read_as!(visit_table: deserialize_map);

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.take("null") { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let token = self.token()?;
        let visited = if let Token::Null = token { visitor.visit_unit() } else { mismatch(&visitor) };
        visited.map_err(|mistake: Mistake| mistake.with_found(&token))
    }

    /// Reads the settings of a plugin without any: an empty table.
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        self.expect("{")?;
        if !self.take("}") {
            let key = self.text()?;
            return Err(Mistake::new("the plugin has no settings").at_key(&key));
        }
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value> {
        if name != UNPARSED {
            return visitor.visit_newtype_struct(self);
        }
        self.peek();
        let text = self.rest;
        self.skip()?;
        visitor.visit_borrowed_str(&text[..text.len() - self.rest.len()])
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value> {
        self.visit_list(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, _: usize, visitor: V) -> Result<V::Value> {
        self.visit_list(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.visit_table(visitor)
    }

    /// Reads `"odd"` or `{"every": 3}`.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let token = self.token()?;
        match &token {
            Token::Text(name) => visitor.visit_enum(name.as_ref().into_deserializer()),
            Token::Table => {
                let name = self.text()?;
                self.expect(":")?;
                let variant = Variant { reader: self, name: &name };
                let visited = visitor.visit_enum(variant).map_err(|mistake: Mistake| mistake.at_key(&name))?;
                self.expect("}").map(|()| visited)
            }
            _ => mismatch(&visitor),
        }
        .map_err(|mistake: Mistake| mistake.with_found(&token))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.skip()?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any!(bytes byte_buf);
}

struct List<'a, 'de> {
    reader: &'a mut Reader<'de>,
    first: &'a mut bool,
    index: usize,
}

impl<'de> de::SeqAccess<'de> for List<'_, 'de> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        // `visit_list` consumes the end.
        if self.reader.peek() == Some(b']') || !self.reader.more("]", self.first)? {
            return Ok(None);
        }
        let index = self.index;
        self.index += 1;
        seed.deserialize(&mut *self.reader).map(Some).map_err(|mistake: Mistake| mistake.at_entry(index))
    }
}

struct Table<'a, 'de> {
    reader: &'a mut Reader<'de>,
    first: bool,
    key: Cow<'de, str>,
}

impl<'de> de::MapAccess<'de> for Table<'_, 'de> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        if !self.reader.more("}", &mut self.first)? {
            return Ok(None);
        }
        self.key = self.reader.text()?;
        self.reader.expect(":")?;
        seed.deserialize(Key(&self.key)).map(Some).map_err(|mistake: Mistake| mistake.at_key(&self.key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.reader).map_err(|mistake: Mistake| mistake.at_key(&self.key))
    }
}

/// A key of a table: text, or a number in quotes.
struct Key<'a>(&'a str);

impl Key<'_> {
    fn visit_integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let visited = match (self.0.parse::<u64>(), self.0.parse::<i64>()) {
            (Ok(number), _) => visitor.visit_u64(number),
            (_, Ok(number)) => visitor.visit_i64(number),
            _ => mismatch(&visitor),
        };
        visited.map_err(|mistake: Mistake| mistake.with_found(&Token::Text(Cow::Borrowed(self.0))))
    }
}

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_str(self.0).map_err(|mistake: Mistake| mistake.with_found(&Token::Text(Cow::Borrowed(self.0))))
    }

    read_as!(visit_integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64);
    read_as!(visit_integer: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64);

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    forward_to_deserialize_any! {
        bool f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

/// The value at the only key of a table that is an enum's variant.
struct Variant<'a, 'de> {
    reader: &'a mut Reader<'de>,
    name: &'a str,
}

impl<'a, 'de> de::EnumAccess<'de> for Variant<'a, 'de> {
    type Error = Mistake;
    type Variant = &'a mut Reader<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant)> {
        Ok((seed.deserialize(Key(self.name))?, self.reader))
    }
}

impl<'de> de::VariantAccess<'de> for &mut Reader<'de> {
    type Error = Mistake;

    fn unit_variant(self) -> Result<()> {
        de::Deserialize::deserialize(self)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value> {
        self.visit_list(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value> {
        self.visit_table(visitor)
    }
}
