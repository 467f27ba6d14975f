//! Reads settings into their types with serde, and notes every mistake instead of stopping at the first.
//!
//! A wrong value is noted, and the default is read in its place, or nothing where there is no default.

use std::cell::RefCell;
use std::fmt::Display;
use std::path::Path;
use std::vec;

use serde::de::{
    self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer,
    MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::complaint::nearest;
use super::fields::SECRET;
use super::leaf::{Fault, Leaf};
use super::settings::{Entry, Settings, joined};
use super::value::Value;
use super::{ReadFile, Source, layers};

/// What was noted while settings were read.
#[derive(Default)]
struct Notes {
    /// Names, and what is wrong.
    wrong: Vec<(String, String)>,
    /// Names of secrets, with text and source when they came from a file.
    secrets: Vec<(String, Option<(String, Source)>)>,
}

/// A table of `config/default.toml` that is read whole.
pub(super) trait Section: DeserializeOwned {
    /// The dotted name.
    const NAME: &'static str;

    /// Complains of values that do not fit together, and warns of those that are probably not meant.
    fn check(&mut self, _: &mut Settings) {}
}

impl Settings {
    /// Reads and checks a section. `None` when it cannot be read, which is complained of.
    pub(super) fn section<T: Section>(&mut self) -> Option<T> {
        let mut section: T = self.table(T::NAME)?;
        section.check(self);
        Some(section)
    }

    /// Reads all settings below the dotted `name`. `None` when that is impossible, which is complained of.
    pub(super) fn table<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let depth = name.split('.').count();
        let is_ours = |entry: &Entry| entry.path.iter().take(depth).eq(name.split('.'));
        let begin = self.entries.iter().position(is_ours).unwrap_or_default();
        let (_, entries) = self.entries.split_at(begin);
        let count = entries.iter().take_while(|&entry| is_ours(entry)).count();
        let notes = RefCell::default();
        let reader = Reader {
            read: self.read,
            notes: &notes,
            name: name.into(),
            entries: &entries[..count],
            depth,
            twin: None,
        };
        let read = reader.value();
        let Notes { wrong, secrets } = notes.into_inner();
        for (name, message) in wrong {
            self.complain(&name, message);
        }
        for (name, held) in secrets {
            self.conceal(&name, held);
        }
        read.ok()
    }
}

/// Reads one setting, or all that are below a name.
#[derive(Clone)]
struct Reader<'a> {
    read: ReadFile,
    notes: &'a RefCell<Notes>,
    name: String,
    /// All settings whose paths begin alike.
    entries: &'a [Entry],
    /// How many parts of their paths are alike.
    depth: usize,
    /// The setting that names a file with the value, if that is given.
    twin: Option<&'a Entry>,
}

impl<'a> Reader<'a> {
    /// What is directly below, in order: the last part of its name, and its settings.
    fn children(&self) -> impl Iterator<Item = (&'a str, &'a [Entry])> {
        let depth = self.depth;
        let groups = self
            .entries
            .chunk_by(move |one, next| one.path.get(depth) == next.path.get(depth));
        groups
            .filter_map(move |entries| Some((entries.first()?.path.get(depth)?.as_str(), entries)))
    }

    fn child(&self, key: &str, entries: &'a [Entry]) -> Self {
        Self {
            name: joined([&self.name, key]),
            entries,
            depth: self.depth + 1,
            twin: None,
            ..self.clone()
        }
    }

    /// The one setting that is read here; `None` when there is a table, or nothing.
    fn entry(&self) -> Option<&'a Entry> {
        let first = self.entries.first();
        first.filter(|entry| entry.path.len() == self.depth)
    }

    fn leaf(&self) -> Leaf<'a> {
        let is_table = !self.entries.is_empty();
        let otherwise = Leaf::of(is_table.then_some(&Value::Other));
        self.entry().map_or(otherwise, Entry::leaf)
    }

    fn note(&self, name: &str, message: impl Display) {
        let (mut notes, message) = (self.notes.borrow_mut(), message.to_string());
        // An empty message stands for mistakes that were noted already.
        if !message.is_empty() {
            notes.wrong.push((name.into(), message));
        }
    }

    /// Reads what is here. What is wrong is noted, and the default or else nothing is read in its place.
    fn value<'de, T: Deserialize<'de>>(self) -> Result<T, Fault> {
        T::deserialize(self.clone()).or_else(|fault| {
            self.note(&self.name, fault);
            let default = self.entry().and_then(|entry| entry.default.as_ref());
            T::deserialize(Leaf::of(default)).map_err(|_| Fault::noted())
        })
    }

    /// Reads a secret from here or from the file that the twin names.
    fn secret(&self) -> Result<String, Fault> {
        let own = self.leaf().text()?;
        let path = self.twin.map(|twin| (twin, twin.leaf().text()));
        let held = match path {
            Some((twin, Ok(path))) if !path.is_empty() => self.held(own, twin, path),
            _ => None,
        };
        let text = held.as_ref().map_or(own, |(text, _)| text).to_owned();
        self.notes
            .borrow_mut()
            .secrets
            .push((self.name.clone(), held));
        Ok(text)
    }

    /// What the file `path` holds. A mistake is noted.
    fn held(&self, own: &str, twin: &Entry, path: &str) -> Option<(String, Source)> {
        let given = self
            .entry()
            .filter(|entry| !own.is_empty() && entry.source != Source::Default);
        if let Some(given) = given {
            let (own, name, file) = (&given.source, &twin.name, &twin.source);
            let message =
                format!("is given twice: by {own}, and as a file ({name}) by {file}; keep one");
            self.note(&self.name, message);
            return None;
        }
        match (self.read)(Path::new(path)) {
            Ok(text) if text.trim().is_empty() => {
                self.note(
                    &twin.name,
                    "names a file that is empty; it must hold the secret",
                );
                None
            }
            Ok(text) => Some((text.trim().into(), twin.source.clone())),
            Err(error) => {
                self.note(
                    &twin.name,
                    format!("names a file that cannot be read: {}", error.kind()),
                );
                None
            }
        }
    }

    /// Refuses what is in a table beside its `fields`, after it was read.
    fn refuse_strays(&self, fields: &'static [&'static str]) {
        let is_field = |key: &str| fields.contains(&key);
        for (key, _) in self.children().filter(|(key, _)| !is_field(key)) {
            let name = joined([&self.name, key]);
            let stem = name.strip_suffix("_file");
            let is_read = |(secret, _): &(String, _)| Some(secret.as_str()) == stem;
            if self.notes.borrow().secrets.iter().any(is_read) {
                continue;
            }
            let close = nearest(key, fields.iter().copied());
            let message = layers::help(&name).unwrap_or_else(|| match self.name.split_once('[') {
                Some((list, _)) => format!("is not a field of {list}; the nearest is {close}"),
                None => format!("is not a setting; the nearest is {}.{close}", self.name),
            });
            self.note(&name, message);
        }
    }
}

macro_rules! to_leaf {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.leaf().$method(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        // A table of a list may hold nothing.
        let is_table = self.name.ends_with(']');
        if self.entry().is_some() && !is_table {
            let first = fields.first().unwrap_or(&"");
            let held = joined([&self.name, *first]);
            return Err(de::Error::custom(format_args!(
                "is a section, not a setting; it holds {held}"
            )));
        }
        let children: Vec<_> = self.children().collect();
        let of = |key: &str| children.iter().find(|(known, _)| *known == key);
        let mut present = Vec::new();
        for &field in fields {
            let twin = of(&format!("{field}_file")).and_then(|(_, entries)| entries.first());
            let entries = of(field).map(|(_, entries)| *entries);
            if entries.is_some() || twin.is_some() {
                let child = self.child(field, entries.unwrap_or_default());
                present.push((field.to_owned(), Self { twin, ..child }));
            }
        }
        let read = visitor.visit_map(Below::new(present));
        self.refuse_strays(fields);
        read
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.entry().is_some() && self.depth == 1 {
            return Err(de::Error::custom("is a section, not a setting"));
        }
        if self.entry().is_some() {
            return Err(de::Error::invalid_type(de::Unexpected::Map, &visitor));
        }
        // A list beside the tables is a section of its own.
        let below = self.depth + 1;
        let is_list = |entry: &Entry| {
            entry
                .path
                .get(below)
                .is_some_and(|part| part.starts_with('['))
        };
        let tables = self
            .children()
            .filter(|(_, entries)| !entries.iter().any(is_list));
        let present = tables.map(|(key, entries)| (key.to_owned(), self.child(key, entries)));
        visitor.visit_map(Below::new(present.collect()))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if !self.children().any(|(key, _)| key.starts_with('[')) {
            return self.leaf().deserialize_seq(visitor);
        }
        let present = self
            .children()
            .map(|(key, entries)| (String::new(), self.child(key, entries)));
        visitor.visit_seq(Below::new(present.collect()))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name == SECRET {
            return visitor.visit_string(self.secret()?);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.leaf().text() {
            Ok("") => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.leaf().deserialize_enum(name, words, visitor)
    }

    to_leaf!(deserialize_any deserialize_bool deserialize_i64 deserialize_f64);

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 char str string bytes byte_buf unit unit_struct
        tuple tuple_struct identifier ignored_any
    }
}

/// The fields of a table, or the tables of a list, one after the other.
struct Below<'a> {
    rest: vec::IntoIter<(String, Reader<'a>)>,
    next: Option<Reader<'a>>,
}

impl<'a> Below<'a> {
    fn new(readers: Vec<(String, Reader<'a>)>) -> Self {
        Self {
            rest: readers.into_iter(),
            next: None,
        }
    }

    fn next(&mut self) -> Result<Reader<'a>, Fault> {
        self.next.take().ok_or_else(Fault::noted)
    }
}

impl<'de> MapAccess<'de> for Below<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let Some((key, reader)) = self.rest.next() else {
            return Ok(None);
        };
        self.next = Some(reader);
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        seed.deserialize(self.next()?)
    }

    /// What derived code calls: unlike a seed, a type can be read a second time, from the default.
    fn next_value<V: Deserialize<'de>>(&mut self) -> Result<V, Fault> {
        self.next()?.value()
    }

    fn next_entry<K: Deserialize<'de>, V: Deserialize<'de>>(
        &mut self,
    ) -> Result<Option<(K, V)>, Fault> {
        let Some(key) = self.next_key()? else {
            return Ok(None);
        };
        Ok(Some((key, self.next_value()?)))
    }
}

impl<'de> SeqAccess<'de> for Below<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let next = self.rest.next();
        next.map(|(_, reader)| seed.deserialize(reader)).transpose()
    }

    /// Leaves out tables that cannot be read; why is noted.
    fn next_element<T: Deserialize<'de>>(&mut self) -> Result<Option<T>, Fault> {
        Ok(self.rest.find_map(|(_, reader)| reader.value().ok()))
    }
}
