//! [`RawObject`]: a JSON object of another server's, passed on as it was written.

use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// The maximum number of members. They are looked up one by one, and each is memory of its own: many small ones would take a
/// multiple of their text.
const MAX_MEMBERS: usize = 1000;

/// A JSON object whose members are in their order, each in its own text: numbers keep their digits, and members that nobody
/// here knows are kept. Of members with one name the last is kept. What has more than 1000 members is not deserialized.
#[derive(Debug, Clone, Default)]
pub struct RawObject(Vec<(String, Box<RawValue>)>);

impl RawObject {
    /// Returns a member's text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| value.as_ref())
    }

    /// Returns a member as a type; `None` if it is missing or is of another.
    #[must_use]
    pub fn read<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Option<T> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// Sets a member, in its place if it is there, and else as the last.
    pub fn insert(&mut self, name: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(member, _)| member == name) {
            Some((_, present)) => *present = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Sets a member.
    ///
    /// # Errors
    /// When the value can't be JSON.
    pub fn set(&mut self, name: &str, value: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
        self.insert(name, to_raw_value(value)?);
        Ok(())
    }

    /// Removes a member.
    pub fn remove(&mut self, name: &str) -> Option<Box<RawValue>> {
        let at = self.0.iter().position(|(member, _)| member == name)?;
        Some(self.0.remove(at).1)
    }

    /// Returns the length of all texts, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.get().len()).sum()
    }

    /// Returns the members, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_ref()))
    }
}

impl PartialEq for RawObject {
    fn eq(&self, other: &Self) -> bool {
        let texts = |object: &Self| -> Vec<(String, String)> {
            object.iter().map(|(name, value)| (name.to_owned(), value.get().to_owned())).collect()
        };
        texts(self) == texts(other)
    }
}

impl Eq for RawObject {}

impl Serialize for RawObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            members.serialize_entry(name, value)?;
        }
        members.end()
    }
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = RawObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawObject, A::Error> {
                let mut object = RawObject::default();
                let mut count = 0;
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    // Those of one name count, too: each is looked up among all before it.
                    count += 1;
                    if count > MAX_MEMBERS {
                        return Err(A::Error::custom(format_args!("more than {MAX_MEMBERS} members")));
                    }
                    object.insert(&name, value);
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_their_text() {
        let text = r#"{"z":1.10,"a":{"x":  [1e2]},"_meta":{}}"#;
        let mut object: RawObject = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&object).unwrap(), text);
        object.set("z", &true).unwrap();
        object.remove("_meta");
        object.set("new", "n").unwrap();
        assert_eq!(serde_json::to_string(&object).unwrap(), r#"{"z":true,"a":{"x":  [1e2]},"new":"n"}"#);
        assert_eq!(object.read::<bool>("z"), Some(true));
        assert_eq!(object.read::<String>("z"), None);
    }

    #[test]
    fn of_two_members_with_one_name_the_last_is_kept() {
        let object: RawObject = serde_json::from_str(r#"{"a":1,"a":2}"#).unwrap();
        assert_eq!(serde_json::to_string(&object).unwrap(), r#"{"a":2}"#);
        assert!(serde_json::from_str::<RawObject>("[1]").is_err());
    }

    #[test]
    fn an_object_of_very_many_members_is_refused() {
        let object = |names: &mut dyn Iterator<Item = usize>| {
            let members: Vec<String> = names.map(|name| format!("\"{name}\":0")).collect();
            serde_json::from_str::<RawObject>(&format!("{{{}}}", members.join(",")))
        };
        assert_eq!(object(&mut (0..MAX_MEMBERS)).unwrap().iter().count(), MAX_MEMBERS);
        assert!(object(&mut (0..=MAX_MEMBERS)).is_err());
        assert!(object(&mut std::iter::repeat_n(1, MAX_MEMBERS + 1)).is_err(), "of one name");
    }
}
