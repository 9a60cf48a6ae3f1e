//! From the annotated item to the item with its derives.

use crate::docs;
use crate::key::{Fallback, Key};
use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::{
    Attribute, Data, DataEnum, DeriveInput, Error, Expr, ExprLit, Field, Fields, Ident, Lit, LitStr, parse_quote,
    parse2,
};

/// The whole of `#[settings]`.
///
/// # Errors
/// Every place that is wrong, combined into one error, so that a new plugin is repaired in one go.
pub fn settings(arguments: TokenStream, item: TokenStream) -> Result<TokenStream, Error> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "`#[settings]` takes no arguments; keys carry `#[set(...)]`"));
    }
    let mut item: DeriveInput = parse2(item)?;
    let mut problems = Problems::default();
    problems.note(docs::require(&item.ident, &item.attrs));
    if !item.generics.params.is_empty() {
        problems
            .note(Err(Error::new_spanned(&item.generics, "settings are plain data: no type or lifetime parameters")));
    }

    let name = item.ident.clone();
    let (serde_rule, helpers) = match &mut item.data {
        Data::Struct(data) => (quote!(deny_unknown_fields), keys(&name, &item.attrs, &mut data.fields, &mut problems)),
        Data::Enum(data) => {
            choices(data, &mut problems);
            (quote!(rename_all = "snake_case"), TokenStream::new())
        }
        Data::Union(_) => return Err(Error::new_spanned(&item, "`#[settings]` is for structs and enums")),
    };
    problems.done()?;

    Ok(quote! {
        #[derive(
            ::core::fmt::Debug,
            ::core::clone::Clone,
            ::foil::__private::serde::Serialize,
            ::foil::__private::serde::Deserialize,
            ::foil::__private::schemars::JsonSchema,
        )]
        #[serde(crate = "::foil::__private::serde", #serde_rule)]
        #[schemars(crate = "::foil::__private::schemars")]
        #item
        #helpers
    })
}

/// Annotates the fields and returns what stands beside the struct: its default functions.
fn keys(name: &Ident, attributes: &[Attribute], fields: &mut Fields, problems: &mut Problems) -> TokenStream {
    let fields = match fields {
        Fields::Named(named) => &mut named.named,
        Fields::Unit => {
            problems
                .note(Err(Error::new_spanned(name, format!("write `struct {name} {{}}`: settings are a map of keys"))));
            return TokenStream::new();
        }
        Fields::Unnamed(_) => {
            problems.note(Err(Error::new_spanned(name, "settings need named fields: a key is a field's name")));
            return TokenStream::new();
        }
    };
    let mut made = Defaults { all: true, ..Defaults::default() };
    for field in fields {
        let Some(ident) = field.ident.clone() else { continue };
        problems.note(docs::require(&ident, &field.attrs));
        match Key::take(&mut field.attrs) {
            Ok(key) => made.add(name, field, ident, key),
            Err(error) => problems.note(Err(error)),
        }
    }
    made.beside(name, derives_default(attributes))
}

/// The defaults of a struct's keys.
#[derive(Default)]
struct Defaults {
    /// The functions that make those that are not their type's.
    functions: Vec<TokenStream>,
    /// Each field's, as in a struct expression.
    fields: Vec<TokenStream>,
    /// Whether every key has one.
    all: bool,
}

impl Defaults {
    /// Annotates `field` of the struct `name`, and notes its default.
    fn add(&mut self, name: &Ident, field: &mut Field, ident: Ident, key: Key) {
        let of_type = quote!(#ident: ::core::default::Default::default());
        match key.fallback {
            Fallback::Required if is_option(&field.ty) => self.fields.push(of_type),
            Fallback::Required => self.all = false,
            Fallback::OfType => {
                field.attrs.push(parse_quote!(#[serde(default)]));
                self.fields.push(of_type);
            }
            Fallback::Is(value) => {
                let function = format_ident!("__default_{}", ident);
                let path = LitStr::new(&format!("{name}::{function}"), ident.span());
                field.attrs.push(parse_quote!(#[serde(default = #path)]));
                let (kind, value) = (&field.ty, owned(&value));
                self.functions.push(quote! { fn #function() -> #kind { #value } });
                self.fields.push(quote!(#ident: Self::#function()));
            }
        }
        if !key.keywords.is_empty() {
            let pairs = key.keywords.iter().map(|(keyword, value)| quote!(#keyword = #value));
            field.attrs.push(parse_quote!(#[schemars(extend(#(#pairs),*))]));
        }
    }

    /// What stands beside the struct: the functions, and `Default` if each key has one.
    fn beside(self, name: &Ident, derived: bool) -> TokenStream {
        let Self { functions, fields, all } = self;
        let functions = (!functions.is_empty()).then(|| quote! { impl #name { #(#functions)* } });
        let default = (all && !derived).then(|| {
            quote! {
                impl ::core::default::Default for #name {
                    fn default() -> Self { Self { #(#fields),* } }
                }
            }
        });
        quote!(#functions #default)
    }
}

/// Checks the names of a choice.
fn choices(data: &DataEnum, problems: &mut Problems) {
    for variant in &data.variants {
        problems.note(docs::require(&variant.ident, &variant.attrs));
        if !matches!(variant.fields, Fields::Unit) {
            let message = "a choice is a bare name; a choice that carries keys is a component: register it as a plugin";
            problems.note(Err(Error::new_spanned(variant, message)));
        }
    }
}

/// A string literal may stand for any type made from one, `String` above all.
fn owned(value: &Expr) -> TokenStream {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => quote!(::core::convert::Into::into(#text)),
        other => other.to_token_stream(),
    }
}

fn is_option(kind: &syn::Type) -> bool {
    matches!(kind, syn::Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Option"))
}

fn derives_default(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("derive")).any(|attribute| {
        let mut found = false;
        let read = attribute.parse_nested_meta(|meta| {
            found |= meta.path.segments.last().is_some_and(|last| last.ident == "Default");
            Ok(())
        });
        read.is_ok() && found
    })
}

/// Errors so far, to be reported together.
#[derive(Default)]
struct Problems(Option<Error>);

impl Problems {
    fn note(&mut self, outcome: Result<(), Error>) {
        let Err(error) = outcome else { return };
        match &mut self.0 {
            Some(first) => first.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn done(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(item: TokenStream) -> Vec<String> {
        match settings(TokenStream::new(), item) {
            Ok(_) => Vec::new(),
            Err(error) => error.into_iter().map(|one| one.to_string()).collect(),
        }
    }

    #[test]
    fn every_missing_manual_is_reported_at_once() {
        let found = messages(quote! {
            pub struct Pgd { pub eps: f64, /** Number of steps. */ pub steps: u32, #[doc = ""] pub alpha: f64 }
        });
        assert_eq!(found.len(), 3, "{found:?}");
        for (message, name) in found.iter().zip(["Pgd", "eps", "alpha"]) {
            assert_eq!(*message, format!("`{name}` needs a doc comment: it is the manual that `foil explain` prints"));
        }
        let found = messages(quote! { /** Where it starts. */ enum Start { /** Uniform noise. */ Uniform, None } });
        assert_eq!(found, ["`None` needs a doc comment: it is the manual that `foil explain` prints"]);
    }

    #[test]
    fn shapes_without_a_plain_yaml_form_are_refused() {
        assert!(messages(quote! { /** A. */ struct At; })[0].contains("write `struct At {}`"));
        assert!(messages(quote! { /** A. */ struct At(u8); })[0].contains("named fields"));
        assert!(messages(quote! { /** A. */ struct At<T> { /** B. */ b: T } })[0].contains("no type or lifetime"));
        assert!(messages(quote! { /** A. */ enum At { /** B. */ B(u8) } })[0].contains("register it as a plugin"));
        assert!(settings(quote!(strict), quote! { /** A. */ struct At {} }).is_err());
    }

    #[test]
    fn a_struct_without_keys_is_fine() {
        assert_eq!(messages(quote! { /** Adversarial training has no settings. */ pub struct At {} }), [""; 0]);
    }
}
