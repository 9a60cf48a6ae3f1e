//! What `#[set(...)]` says about one key.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Error, Expr, ExprRange, LitStr, RangeLimits};

/// How a key gets its value when the pipeline leaves it out.
pub enum Fallback {
    /// It has none: serde asks for the key, unless its type is `Option`.
    Required,
    /// `Default::default()`.
    OfType,
    /// The expression of `default = EXPR`.
    Is(Box<Expr>),
}

/// One field's `#[set(...)]`, read.
pub struct Key {
    /// What stands in for a missing key.
    pub fallback: Fallback,
    /// Schema keywords and their values, such as `minimum` and `0.0`.
    pub keywords: Vec<(&'static str, TokenStream)>,
}

impl Key {
    /// Takes every `#[set(...)]` out of `attributes` and reads them together; the compiler knows no
    /// such attribute.
    ///
    /// # Errors
    /// An unknown key, one that is given twice, or a `range` without bounds.
    pub fn take(attributes: &mut Vec<Attribute>) -> Result<Self, Error> {
        let mut key = Self { fallback: Fallback::Required, keywords: Vec::new() };
        let (ours, others) = attributes.drain(..).partition(|attribute| attribute.path().is_ident("set"));
        *attributes = others;
        let ours: Vec<Attribute> = ours;
        for attribute in &ours {
            key.read(attribute)?;
        }
        Ok(key)
    }

    fn read(&mut self, attribute: &Attribute) -> Result<(), Error> {
        attribute.parse_nested_meta(|meta| {
            let at = |error: &str| meta.error(error);
            if meta.path.is_ident("default") {
                if !matches!(self.fallback, Fallback::Required) {
                    return Err(at("`default` is given twice"));
                }
                self.fallback = match meta.value() {
                    Ok(value) => Fallback::Is(value.parse()?),
                    Err(_) => Fallback::OfType,
                };
            } else if meta.path.is_ident("range") {
                let range: ExprRange = meta.value()?.parse()?;
                self.bounds(range).map_err(at)?;
            } else if meta.path.is_ident("above") {
                let bound: Expr = meta.value()?.parse()?;
                self.keyword("exclusiveMinimum", quote!(#bound)).map_err(at)?;
            } else if meta.path.is_ident("below") {
                let bound: Expr = meta.value()?.parse()?;
                self.keyword("exclusiveMaximum", quote!(#bound)).map_err(at)?;
            } else if meta.path.is_ident("unit") {
                let unit: LitStr = meta.value()?.parse()?;
                self.keyword("x-unit", quote!(#unit)).map_err(at)?;
            } else {
                return Err(at("`set` takes: default, range, above, below, unit"));
            }
            Ok(())
        })
    }

    fn bounds(&mut self, range: ExprRange) -> Result<(), &'static str> {
        if range.start.is_none() && range.end.is_none() {
            return Err("`range` needs at least one bound: `0.0..=1.0`, `1..` or `..=1`");
        }
        if let Some(start) = range.start {
            self.keyword("minimum", quote!(#start))?;
        }
        match (range.end, range.limits) {
            (Some(end), RangeLimits::Closed(_)) => self.keyword("maximum", quote!(#end)),
            (Some(end), RangeLimits::HalfOpen(_)) => self.keyword("exclusiveMaximum", quote!(#end)),
            (None, _) => Ok(()),
        }
    }

    fn keyword(&mut self, name: &'static str, value: TokenStream) -> Result<(), &'static str> {
        if self.keywords.iter().any(|(known, _)| *known == name) {
            return Err("this bound or unit is given twice");
        }
        self.keywords.push((name, value));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    fn keywords(attribute: Attribute) -> Result<Vec<(&'static str, String)>, String> {
        let key = Key::take(&mut vec![attribute]).map_err(|error| error.to_string())?;
        Ok(key.keywords.into_iter().map(|(name, value)| (name, value.to_string().replace(' ', ""))).collect())
    }

    #[test]
    fn rust_ranges_become_schema_bounds() {
        let bounds = |attribute| keywords(attribute).expect("a good range");
        assert_eq!(
            bounds(parse_quote!(#[set(range = 0.0..=1.0)])),
            [("minimum", "0.0".into()), ("maximum", "1.0".into())]
        );
        assert_eq!(bounds(parse_quote!(#[set(range = 1..)])), [("minimum", "1".into())]);
        assert_eq!(bounds(parse_quote!(#[set(range = ..=-1)])), [("maximum", "-1".into())]);
        assert_eq!(
            bounds(parse_quote!(#[set(range = 0..8)])),
            [("minimum", "0".into()), ("exclusiveMaximum", "8".into())]
        );
        assert_eq!(
            bounds(parse_quote!(#[set(above = 0.0, range = ..=1.0)])),
            [("exclusiveMinimum", "0.0".into()), ("maximum", "1.0".into())]
        );
    }

    #[test]
    fn mistakes_say_what_would_do() {
        let message = |attribute| keywords(attribute).expect_err("a mistake");
        assert_eq!(message(parse_quote!(#[set(rnage = 1..)])), "`set` takes: default, range, above, below, unit");
        assert!(message(parse_quote!(#[set(range = ..)])).contains("at least one bound"));
        assert!(message(parse_quote!(#[set(range = 0..=1, below = 1, below = 2)])).contains("twice"));
        assert!(message(parse_quote!(#[set(default = 1, default)])).contains("twice"));
    }

    #[test]
    fn other_attributes_stay() {
        let mut attributes: Vec<Attribute> = vec![parse_quote!(#[serde(alias = "n")]), parse_quote!(#[set(default)])];
        let key = Key::take(&mut attributes).expect("a good key");
        assert_eq!(attributes.len(), 1);
        assert!(matches!(key.fallback, Fallback::OfType));
    }
}
