//! Reads settings whose kind only settings have: secrets, and tables whose keys are free.

use std::fmt;
use std::marker::PhantomData;

use secrecy::SecretString;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

/// What [`secret`] asks serde for, so that the reader knows a secret by its type.
pub(super) const SECRET: &str = "a secret";

/// Reads a secret from its setting or from the file that its twin `…_file` names. `None` when neither is given.
pub(super) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
    struct Told;
    impl<'de> Visitor<'de> for Told {
        type Value = Option<SecretString>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("text, in quotes")
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(text).filter(|text| !text.is_empty()).map(Into::into))
        }

        fn visit_newtype_struct<D: Deserializer<'de>>(
            self,
            from: D,
        ) -> Result<Self::Value, D::Error> {
            from.deserialize_str(self)
        }
    }
    from.deserialize_newtype_struct(SECRET, Told)
}

/// A secret of a table whose keys are free.
#[derive(Default)]
pub(super) struct Secret(pub(super) Option<SecretString>);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        secret(from).map(Self)
    }
}

/// Reads a table of texts in the order in which it is written.
pub(super) fn pairs<'de, T, D>(from: D) -> Result<Vec<(String, T)>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Told<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Told<T> {
        type Value = Vec<(String, T)>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a table of texts, like { \"/role\" = \"authenticated\" }")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(key) = map.next_key()? {
                let value = map.next_value_seed(PhantomData);
                let wrong = |_| de::Error::invalid_type(de::Unexpected::Map, &self);
                pairs.push((key, value.map_err(wrong)?));
            }
            Ok(pairs)
        }
    }
    from.deserialize_map(Told(PhantomData))
}
