//! What may be written at a place, while the tree is still being merged.

use crate::Catalog;
use crate::node::{Map, type_of};
use crate::schema::{Shape, accepts, alternatives, component, resolve};
use serde_json::Value as Json;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Schemas of plugins by kind and name, cached: making one costs more than using it.
type Schemas = RefCell<HashMap<(String, String), Option<Rc<Json>>>>;

/// A place in the tree, and what the schema says about it.
#[derive(Clone)]
pub(crate) struct Site<'c> {
    /// Unknown under a misspelt key, or inside a plugin of a library that is not loaded yet.
    known: Option<Known<'c>>,
}

#[derive(Clone)]
struct Known<'c> {
    catalog: &'c dyn Catalog,
    schemas: Rc<Schemas>,
    /// The schemas of which a value must meet one.
    options: Rc<Vec<serde_json::Map<String, Json>>>,
    /// Where their references point into.
    root: Rc<Json>,
}

impl<'c> Known<'c> {
    fn at(&self, schema: &Json, root: &Rc<Json>) -> Self {
        let options = alternatives(resolve(schema, root), root).into_iter().map(|option| option.into_owned());
        Self { options: Rc::new(options.collect()), root: root.clone(), ..self.clone() }
    }

    fn plugin(&self, kind: &str, name: &str) -> Option<Rc<Json>> {
        let key = (kind.to_string(), name.to_string());
        let schema = || self.catalog.schema(kind, name).map(Rc::new);
        self.schemas.borrow_mut().entry(key).or_insert_with(schema).clone()
    }

    /// The key of `map`, or its entry of any name.
    fn key(&self, key: &str, map: &Map) -> Option<Self> {
        self.options.iter().find_map(|option| match option.get("x-component").and_then(Json::as_str) {
            Some(kind) => {
                let root = self.plugin(kind, type_of(map)?)?;
                let schema = root.get("properties")?.get(key)?;
                Some(self.at(schema, &root))
            }
            None => {
                let named = option.get("properties").and_then(|keys| keys.get(key));
                let any = || option.get("additionalProperties").filter(|schema| schema.is_object());
                Some(self.at(named.or_else(any)?, &self.root))
            }
        })
    }

    /// The entry of a list.
    fn item(&self, n: usize) -> Option<Self> {
        self.options.iter().find_map(|option| {
            let own = option.get("prefixItems").and_then(|items| items.get(n));
            Some(self.at(own.or_else(|| option.get("items"))?, &self.root))
        })
    }

    fn any(&self, is: impl Fn(&crate::schema::Keywords<'_>) -> bool) -> bool {
        self.options.iter().any(|option| is(&std::borrow::Cow::Borrowed(option)))
    }
}

impl<'c> Site<'c> {
    /// The top level.
    pub fn top(schema: &Json, catalog: &'c dyn Catalog) -> Self {
        let root = Rc::new(schema.clone());
        let empty = Known { catalog, schemas: Rc::default(), options: Rc::default(), root: root.clone() };
        Self { known: Some(empty.at(schema, &root)) }
    }

    /// A place about which nothing is known.
    pub fn unknown() -> Self {
        Self { known: None }
    }

    /// Under a key of `map`, which is here.
    pub fn key(&self, key: &str, map: &Map) -> Self {
        Self { known: self.known.as_ref().and_then(|known| known.key(key, map)) }
    }

    /// At an entry of the list that is here.
    pub fn item(&self, n: usize) -> Self {
        Self { known: self.known.as_ref().and_then(|known| known.item(n)) }
    }

    /// Whether a text may be a plugin's name here, and so is short for a map with that `type`.
    pub fn takes_names(&self) -> bool {
        self.known.as_ref().is_none_or(|known| known.any(|option| component(option).is_some()))
    }

    /// Whether it is known that a plugin belongs here.
    pub fn is_component(&self) -> bool {
        self.known.is_some() && self.takes_names()
    }

    /// Whether a map may be here.
    pub fn takes_maps(&self) -> bool {
        self.known.as_ref().is_none_or(|known| known.any(|option| accepts(option, Shape::Map)))
    }
}
