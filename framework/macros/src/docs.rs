//! Settings without doc comments do not compile.

use syn::{Attribute, Error, Expr, ExprLit, Ident, Lit, Meta};

/// Checks that `attributes` hold a doc comment with words in it.
///
/// # Errors
/// Points at `name`, which says whose manual is missing.
pub fn require(name: &Ident, attributes: &[Attribute]) -> Result<(), Error> {
    if attributes.iter().any(is_documentation) {
        return Ok(());
    }
    Err(Error::new(name.span(), format!("`{name}` needs a doc comment: it is the manual that `foil explain` prints")))
}

/// `///` arrives as `#[doc = "..."]`. `#[doc(hidden)]` is not a manual;
/// `#[doc = include_str!(...)]` may be one.
fn is_documentation(attribute: &Attribute) -> bool {
    let Meta::NameValue(pair) = &attribute.meta else { return false };
    if !pair.path.is_ident("doc") {
        return false;
    }
    match &pair.value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => !text.value().trim().is_empty(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn a_blank_or_hidden_doc_is_no_manual() {
        let name: Ident = parse_quote!(steps);
        let documented = |attribute: Attribute| require(&name, &[attribute]).is_ok();
        assert!(documented(parse_quote!(#[doc = " Number of steps."])));
        assert!(documented(parse_quote!(#[doc = include_str!("steps.md")])));
        assert!(!documented(parse_quote!(#[doc = "  "])));
        assert!(!documented(parse_quote!(#[doc(hidden)])));
        assert_eq!(
            require(&name, &[]).unwrap_err().to_string(),
            "`steps` needs a doc comment: it is the manual that `foil explain` prints"
        );
    }
}
