//! Typed ids: the API of a resource ([`Api`]), its model ([`Model`]) and its full name ([`ResourceName`]), parsed once at
//! the edge. `Display` is the inverse of `FromStr`, and serde uses both. Clones are cheap: the text is shared.
//!
//! Knows no message and no transport: the conversions from and to the wire are in `mainstay-proto`.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Longest name of a resource or a remote, in characters.
const MAX_NAME_LEN: usize = 60;
/// Longest name of a module or a package, in characters.
const MAX_MODULE_NAME_LEN: usize = 200;

/// A text that is not the name it should be. Quotes the text and shows one that would pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not three words with colons between them.
    #[error(
        "`{0}` is not an API: write namespace:type:subtype in letters, digits, `-` and `_`, like `rdk:component:motor`"
    )]
    Api(String),
    /// An API whose middle word is another one.
    #[error("`{0}` is not an API: its type must be `component` or `service`, like `rdk:component:motor`")]
    ApiType(String),
    /// Neither three words with colons between them nor one word.
    #[error(
        "`{0}` is not a model: write namespace:family:name in letters, digits, `-` and `_`, like `acme:rover:wheel`, or \
         one word for a built-in model, like `fake`"
    )]
    Model(String),
    /// No slash between an API and a name, or a name with other characters.
    #[error("`{0}` is not a resource name: write namespace:type:subtype/name, like `rdk:component:motor/left`")]
    ResourceName(String),
    /// Not a plain name.
    #[error(
        "name \"{0}\" must start with a letter or number and must only contain letters, numbers, dashes, and \
         underscores, like `left-motor`"
    )]
    Name(String),
    /// A plain name, but a long one.
    #[error("name \"{name}\" must be {max} characters or fewer, like `left-motor`")]
    TooLong {
        /// The rejected name.
        name: String,
        /// Greatest number of characters.
        max: usize,
    },
}

/// Three words with colons between them; the text is whole and the parts are found by position.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Triplet {
    text: Arc<str>,
    /// Byte positions of the colons.
    colons: [u32; 2],
}

impl Triplet {
    /// `None` unless there are exactly three words of `[A-Za-z0-9_-]+`.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(':');
        let (first, second, third) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || ![first, second, third].into_iter().all(is_word) {
            return None;
        }
        let colons = [first.len(), first.len() + 1 + second.len()].map(u32::try_from);
        let [Ok(one), Ok(two)] = colons else { return None };
        Some(Self {
            text: text.into(),
            colons: [one, two],
        })
    }

    fn parts(&self) -> [&str; 3] {
        let [one, two] = self.colons.map(|at| at as usize);
        [&self.text[..one], &self.text[one + 1..two], &self.text[two + 1..]]
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// API of a resource, as `namespace:type:subtype`, for example `rdk:component:motor`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Api(Triplet);

impl Api {
    /// An API from its parts. `kind` is `component` or `service`.
    pub fn new(namespace: &str, kind: &str, subtype: &str) -> Result<Self, IdError> {
        format!("{namespace}:{kind}:{subtype}").parse()
    }

    /// The standard component API of this subtype, for example `motor`.
    ///
    /// # Panics
    /// If the subtype, a constant of the program, is not one word in letters, digits, `-` and `_`.
    pub fn component(subtype: &'static str) -> Self {
        Self::new("rdk", "component", subtype).expect("a subtype in the source is one word")
    }

    /// The standard service API of this subtype, for example `vision`.
    ///
    /// # Panics
    /// If the subtype, a constant of the program, is not one word in letters, digits, `-` and `_`.
    pub fn service(subtype: &'static str) -> Self {
        Self::new("rdk", "service", subtype).expect("a subtype in the source is one word")
    }

    /// `rdk` for the standard APIs.
    pub fn namespace(&self) -> &str {
        self.0.parts()[0]
    }

    /// `component` or `service`.
    pub fn kind(&self) -> &str {
        self.0.parts()[1]
    }

    /// For example `motor`.
    pub fn subtype(&self) -> &str {
        self.0.parts()[2]
    }

    /// The whole text, `namespace:type:subtype`.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }
}

impl FromStr for Api {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let api = Self(Triplet::parse(text).ok_or_else(|| IdError::Api(text.to_owned()))?);
        if matches!(api.kind(), "component" | "service") {
            Ok(api)
        } else {
            Err(IdError::ApiType(text.to_owned()))
        }
    }
}

/// Model that implements a resource, as `namespace:family:name`, for example `acme:rover:wheel`.
/// One word stands for a built-in model: `fake` is read as, and printed as, `rdk:builtin:fake`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Model(Triplet);

impl Model {
    /// A model from its parts.
    pub fn new(namespace: &str, family: &str, name: &str) -> Result<Self, IdError> {
        format!("{namespace}:{family}:{name}").parse()
    }

    /// The built-in model of this name, for example `fake`.
    ///
    /// # Panics
    /// If the name, a constant of the program, is not one word in letters, digits, `-` and `_`.
    pub fn builtin(name: &'static str) -> Self {
        Self::new("rdk", "builtin", name).expect("a model name in the source is one word")
    }

    /// `rdk` for built-in models.
    pub fn namespace(&self) -> &str {
        self.0.parts()[0]
    }

    /// `builtin` for built-in models.
    pub fn family(&self) -> &str {
        self.0.parts()[1]
    }

    /// For example `fake`.
    pub fn name(&self) -> &str {
        self.0.parts()[2]
    }

    /// Whether it is a `rdk:builtin:*` model.
    pub fn is_builtin(&self) -> bool {
        self.namespace() == "rdk" && self.family() == "builtin"
    }

    /// The whole text, `namespace:family:name`.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }
}

impl FromStr for Model {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let triplet = if is_word(text) {
            Triplet::parse(&format!("rdk:builtin:{text}"))
        } else {
            Triplet::parse(text)
        };
        triplet.map(Self).ok_or_else(|| IdError::Model(text.to_owned()))
    }
}

/// One resource of a machine, as `api/name`, for example `rdk:component:motor/left`.
///
/// The name of a remote's resource may carry the remotes in front (`rdk:component:motor/rover:left`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceName {
    /// Its API.
    pub api: Api,
    /// Its name, unique within the API.
    pub name: String,
}

impl ResourceName {
    /// The resource `name` of `api`. The name is taken as it is; [`check_name`] says whether a config may use it.
    pub fn new(api: Api, name: impl Into<String>) -> Self {
        Self { api, name: name.into() }
    }
}

impl FromStr for ResourceName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::ResourceName(text.to_owned());
        let (api, name) = text.split_once('/').ok_or_else(wrong)?;
        if !is_resource(name) {
            return Err(wrong());
        }
        Ok(Self::new(api.parse()?, name))
    }
}

/// Whether peers may mean a resource by it: words with colons between them. Internal names begin with `$`.
fn is_resource(name: &str) -> bool {
    name.split(':')
        .all(|part| is_word(part.strip_prefix('$').unwrap_or(part)))
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.api, self.name)
    }
}

/// Implementations that every text id shares: printing it, and reading it from and into a `String` for serde.
macro_rules! text_id {
    ($($id:ident),*) => {$(
        impl TryFrom<String> for $id {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$id> for String {
            fn from(id: $id) -> Self {
                id.to_string()
            }
        }

        // Ids stand in the debug output of larger things, where the fields would only be in the way.
        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($id))
            }
        }
    )*};
}

text_id!(Api, Model, ResourceName);

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Checks the name that a config gives to a resource or a remote: a letter or digit, then letters, digits, `-` and `_`,
/// at most 60 characters.
pub fn check_name(name: &str) -> Result<(), IdError> {
    check(name, MAX_NAME_LEN)
}

/// Checks the name that a config gives to a module or a package: as [`check_name`], but at most 200 characters.
pub fn check_module_name(name: &str) -> Result<(), IdError> {
    check(name, MAX_MODULE_NAME_LEN)
}

fn check(name: &str, max: usize) -> Result<(), IdError> {
    if !is_word(name) || !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Err(IdError::Name(name.to_owned()));
    }
    if name.len() > max {
        return Err(IdError::TooLong {
            name: name.to_owned(),
            max,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_api_is_three_words_of_which_the_second_is_component_or_service() {
        for text in [
            "rdk:component:motor",
            "rdk-internal:service:packages",
            "acme:component:rock_crusher-2",
            "a:service:0",
        ] {
            assert_eq!(text.parse::<Api>().map(|api| api.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "motor",
            "rdk:component",
            "rdk:component:",
            ":component:motor",
            "rdk::motor",
            "rdk:component:motor:x",
            "rdk:component:mo tor",
            "rdk:component:motör",
            "rdk:component:motor/left",
            "rdk:component:mo+tor",
            " rdk:component:motor",
        ] {
            assert_eq!(text.parse::<Api>(), Err(IdError::Api(text.to_owned())));
        }
        assert_eq!(
            "rdk:part:motor".parse::<Api>(),
            Err(IdError::ApiType("rdk:part:motor".to_owned()))
        );
    }

    #[test]
    fn the_parts_of_an_id_are_what_was_written() {
        let api = Api::component("motor");
        assert_eq!(
            (api.namespace(), api.kind(), api.subtype()),
            ("rdk", "component", "motor")
        );
        assert_eq!(Api::service("vision").as_str(), "rdk:service:vision");
        assert_eq!(Api::new("acme", "component", "rock"), "acme:component:rock".parse());
        assert_eq!(
            Api::new("acme:component", "rock", ""),
            Err(IdError::Api("acme:component:rock:".to_owned()))
        );
        let model = Model::new("acme", "rover", "wheel").unwrap();
        assert_eq!(
            (model.namespace(), model.family(), model.name()),
            ("acme", "rover", "wheel")
        );
    }

    #[test]
    fn one_word_is_a_builtin_model() {
        for (text, model) in [
            ("fake", "rdk:builtin:fake"),
            ("rdk:builtin:fake", "rdk:builtin:fake"),
            ("a:b:c", "a:b:c"),
        ] {
            assert_eq!(
                text.parse::<Model>().map(|model| model.to_string()),
                Ok(model.to_owned())
            );
        }
        for text in ["", "a:b", "a:b:c:d", "fake!", "a:b:", "fa ke"] {
            assert_eq!(text.parse::<Model>(), Err(IdError::Model(text.to_owned())));
        }
        assert!(Model::builtin("fake").is_builtin());
        assert!(!Model::new("rdk", "other", "fake").unwrap().is_builtin());
    }

    #[test]
    fn a_resource_name_is_an_api_a_slash_and_a_name() {
        for text in [
            "rdk:component:motor/left",
            "rdk:component:motor/2-left_x",
            "rdk:component:motor/rover:left",
            "rdk:component:motor/a:b:left",
            "rdk-internal:service:framesystem/$framesystem",
        ] {
            assert_eq!(
                text.parse::<ResourceName>().map(|name| name.to_string()),
                Ok(text.to_owned())
            );
        }
        for text in [
            "left",
            "rdk:component:motor",
            "rdk:component:motor/",
            "rdk:component:motor/a/b",
            "rdk:component:motor/a:",
            "rdk:component:motor/a b",
            "rdk:component:motor/a+b",
            "rdk:component:motor/$",
        ] {
            assert_eq!(
                text.parse::<ResourceName>(),
                Err(IdError::ResourceName(text.to_owned()))
            );
        }
        assert_eq!(
            "motor/left".parse::<ResourceName>(),
            Err(IdError::Api("motor".to_owned()))
        );
    }

    #[test]
    fn a_name_in_a_config_is_plain_and_not_too_long() {
        let long = "x".repeat(60);
        for name in ["left", "0", "left-motor_2", &long] {
            assert_eq!(check_name(name), Ok(()));
        }
        for name in [
            "",
            "-left",
            "_left",
            "le ft",
            "rover:left",
            "left+right",
            "lëft",
            "$left",
        ] {
            assert_eq!(check_name(name), Err(IdError::Name(name.to_owned())));
        }
        let name = "x".repeat(61);
        assert_eq!(
            check_name(&name),
            Err(IdError::TooLong {
                name: name.clone(),
                max: 60
            })
        );
        assert_eq!(check_module_name(&name), Ok(()));
        assert!(check_module_name(&"x".repeat(201)).is_err());
    }

    #[test]
    fn every_error_quotes_the_text_and_shows_one_that_would_pass() {
        let errors = [
            "x:y".parse::<Api>().unwrap_err(),
            "x:y:z".parse::<Api>().unwrap_err(),
            "x:y".parse::<Model>().unwrap_err(),
            "x:y".parse::<ResourceName>().unwrap_err(),
            check_name("x:y").unwrap_err(),
        ];
        for error in errors {
            let text = error.to_string();
            assert!(text.contains("x:y") && text.contains("like `"), "{text}");
        }
    }

    #[test]
    fn a_bad_id_in_json_is_an_error_with_its_text() {
        let error = serde_json::from_str::<Api>("\"motor\"").unwrap_err();
        assert!(error.to_string().contains("`motor` is not an API"), "{error}");
    }

    proptest! {
        #[test]
        fn printing_is_the_inverse_of_parsing(
            api in "[A-Za-z0-9_-]{1,9}:(component|service):[A-Za-z0-9_-]{1,9}",
            model in "[A-Za-z0-9_-]{1,9}(:[A-Za-z0-9_-]{1,9}:[A-Za-z0-9_-]{1,9})?",
            name in "([A-Za-z0-9_-]{1,9}:){0,3}[$]?[A-Za-z0-9_-]{1,9}",
        ) {
            let api: Api = api.parse().unwrap();
            let model: Model = model.parse().unwrap();
            let name = ResourceName::new(api.clone(), name);
            prop_assert_eq!(api.to_string().parse::<Api>().unwrap(), api);
            prop_assert_eq!(&model.to_string().parse::<Model>().unwrap(), &model);
            prop_assert_eq!(&name.to_string().parse::<ResourceName>().unwrap(), &name);
            let json = serde_json::to_string(&(&model, &name)).unwrap();
            prop_assert_eq!(serde_json::from_str::<(Model, ResourceName)>(&json).unwrap(), (model, name));
        }

        #[test]
        fn parsing_never_panics_and_what_it_takes_it_prints(text in any::<String>()) {
            if let Ok(api) = text.parse::<Api>() {
                prop_assert_eq!(api.to_string(), text.clone());
            }
            if let Ok(name) = text.parse::<ResourceName>() {
                prop_assert_eq!(name.to_string(), text.clone());
            }
            let _ = text.parse::<Model>();
            let _ = check_name(&text);
        }
    }
}
