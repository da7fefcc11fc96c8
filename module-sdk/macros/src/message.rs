//! The derive `Message`: a struct with the fields of a message, or an enum with the values of one.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{
    Attribute, Data, DeriveInput, Fields, Ident, Path, Result, Token, Variant,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
};

/// Contents of `#[message(…)]` on a type.
struct Counterpart {
    /// Message or enum of the wire.
    wire: Path,
    /// True if an absent message stands for the default value, an unknown number for the default variant.
    default: bool,
    /// Fields that nobody reads any more.
    unused: Vec<Ident>,
}

pub fn expand(item: TokenStream) -> Result<TokenStream> {
    let item: DeriveInput = syn::parse2(item)?;
    let attribute = item.attrs.iter().find(|attribute| attribute.path().is_ident("message"));
    let Counterpart { wire, default, unused } = attribute
        .ok_or_else(|| syn::Error::new_spanned(&item.ident, "say which message: `#[message(v1::Name)]`"))?
        .parse_args()?;
    match &item.data {
        Data::Struct(data) => of_struct(&item.ident, &data.fields, &wire, default, &unused),
        Data::Enum(data) => of_enum(&item.ident, data.variants.iter(), &wire, default),
        Data::Union(_) => Err(syn::Error::new_spanned(&item.ident, "a union is no message")),
    }
}

/// Fields by their own names, or by the one in `#[message(name)]`.
fn of_struct(name: &Ident, fields: &Fields, wire: &Path, default: bool, unused: &[Ident]) -> Result<TokenStream> {
    let mut own = Vec::new();
    let mut theirs = Vec::new();
    for field in fields {
        let ident = field
            .ident
            .as_ref()
            .ok_or_else(|| syn::Error::new_spanned(field, "a field needs a name"))?;
        theirs.push(renamed(&field.attrs)?.unwrap_or_else(|| ident.clone()));
        own.push(ident);
    }
    let texts: Vec<_> = theirs.iter().map(ToString::to_string).collect();
    let read: Vec<_> = own.iter().map(|own| format_ident!("field_{own}")).collect();
    let absent = if default {
        quote! { Ok(<Self as ::std::default::Default>::default()) }
    } else {
        quote! { Err(::mainstay_module::wire::Malformed::missing(field)) }
    };
    Ok(quote! {
        impl ::mainstay_module::wire::Wire<#wire> for #name {
            fn into_wire(self) -> #wire {
                #wire {
                    #(#unused: ::std::default::Default::default(),)*
                    #(#theirs: ::mainstay_module::wire::Wire::into_wire(self.#own)),*
                }
            }

            fn from_wire(
                wire: #wire,
                _: &'static str,
            ) -> ::std::result::Result<Self, ::mainstay_module::wire::Malformed> {
                let #wire { #(#unused: _,)* #(#theirs: #read),* } = wire;
                Ok(Self { #(#own: ::mainstay_module::wire::Wire::from_wire(#read, #texts)?),* })
            }
        }

        /// As a field, which peers may leave out.
        impl ::mainstay_module::wire::Wire<Option<#wire>> for #name {
            fn into_wire(self) -> Option<#wire> {
                Some(::mainstay_module::wire::Wire::into_wire(self))
            }

            fn from_wire(
                wire: Option<#wire>,
                field: &'static str,
            ) -> ::std::result::Result<Self, ::mainstay_module::wire::Malformed> {
                match wire {
                    Some(wire) => ::mainstay_module::wire::Wire::from_wire(wire, field),
                    None => { let _ = field; #absent }
                }
            }
        }
    })
}

/// The name on the wire that an attribute gives.
fn renamed(attributes: &[Attribute]) -> Result<Option<Ident>> {
    let renamed = attributes.iter().find(|attribute| attribute.path().is_ident("message"));
    renamed.map(Attribute::parse_args).transpose()
}

/// Variants by their own names, or likewise; the wire has numbers.
fn of_enum<'a>(
    name: &Ident,
    variants: impl Iterator<Item = &'a Variant>,
    wire: &Path,
    default: bool,
) -> Result<TokenStream> {
    let mut own = Vec::new();
    let mut theirs = Vec::new();
    for variant in variants {
        own.push(&variant.ident);
        theirs.push(renamed(&variant.attrs)?.unwrap_or_else(|| variant.ident.clone()));
    }
    let unknown = if default {
        quote! { Ok(<Self as ::std::default::Default>::default()) }
    } else {
        quote! { Err(::mainstay_module::wire::Malformed::number(field, wire)) }
    };
    Ok(quote! {
        impl ::mainstay_module::wire::Wire<i32> for #name {
            fn into_wire(self) -> i32 {
                match self { #(Self::#own => #wire::#theirs as i32),* }
            }

            fn from_wire(
                wire: i32,
                field: &'static str,
            ) -> ::std::result::Result<Self, ::mainstay_module::wire::Malformed> {
                match #wire::try_from(wire) {
                    #(Ok(#wire::#theirs) => Ok(Self::#own),)*
                    #[allow(unreachable_patterns, reason = "of enums without an unspecified value")]
                    _ => { let _ = field; #unknown }
                }
            }
        }
    })
}

impl Parse for Counterpart {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut counterpart = Self {
            wire: input.parse()?,
            default: false,
            unused: Vec::new(),
        };
        while input.parse::<Option<Token![,]>>()?.is_some() && !input.is_empty() {
            let word: Ident = input.call(syn::ext::IdentExt::parse_any)?;
            match word.to_string().as_str() {
                "default" => counterpart.default = true,
                "unused" => {
                    let content;
                    syn::parenthesized!(content in input);
                    counterpart.unused = Punctuated::<Ident, Token![,]>::parse_terminated(&content)?
                        .into_iter()
                        .collect();
                }
                _ => return Err(syn::Error::new(word.span(), "expected `default` or `unused(…)`")),
            }
        }
        Ok(counterpart)
    }
}
