//! The attribute `#[rpc(…)]` of a trait's method: which method of the service it is, and which fields carry its
//! arguments and its result.

use heck::{ToSnakeCase as _, ToUpperCamelCase as _};
use proc_macro2::Span;
use syn::{
    Attribute, Ident, Path, Result, Token,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
    token,
};

/// Kinds of gRPC methods.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Unary,
    /// One request, many answers.
    Stream,
    /// The same, with an empty answer at the beginning that says that the resource is listening.
    Announced,
    /// Many requests, one answer.
    Upload,
    /// Many requests, many answers.
    Duplex,
}

/// Field of the request, and what it carries.
pub struct Field {
    pub field: Ident,
    pub value: Value,
}

/// Value of a field of the request.
#[derive(PartialEq, Eq)]
pub enum Value {
    /// `self`: the name of the resource.
    Name,
    Argument(Ident),
    /// `_`: nobody reads it any more.
    Unused,
}

/// Contents of `#[rpc(…)]`.
pub struct Rpc {
    pub kind: Kind,
    /// Path of the method as the service has it, such as `GoFor`, or `common::GetReadings` if its messages are elsewhere.
    path: Path,
    /// Fields that are called otherwise than their arguments.
    pub fields: Vec<Field>,
    /// Fields of the answer that make up the result; `None` if the whole answer does.
    pub result: Option<Vec<Ident>>,
    /// True if a model need not have the method.
    pub optional: bool,
    /// Function that answers a request, instead of the code that is written for it.
    pub serve: Option<Path>,
    /// Function that makes the call, likewise.
    pub call: Option<Path>,
}

impl Rpc {
    /// Takes the attribute from a method.
    pub fn take(attributes: &mut Vec<Attribute>) -> Result<Option<Self>> {
        let Some(at) = attributes.iter().position(|attribute| attribute.path().is_ident("rpc")) else {
            return Ok(None);
        };
        attributes.remove(at).parse_args().map(Some)
    }

    /// Name as the service has it, such as `SetRPM`.
    pub fn name(&self) -> String {
        self.path
            .segments
            .last()
            .map(|last| last.ident.to_string())
            .unwrap_or_default()
    }

    pub fn span(&self) -> Span {
        self.path
            .segments
            .last()
            .map_or_else(Span::call_site, |last| last.ident.span())
    }

    /// Name of the method that tonic generates.
    pub fn method(&self) -> Ident {
        let name = self.name().to_snake_case();
        syn::parse_str(&name).unwrap_or_else(|_| Ident::new_raw(&name, self.span()))
    }

    /// Type of the request (`Request`) or answer (`Response`) that prost generates, found beside the service unless the
    /// path says otherwise.
    pub fn message(&self, beside: &Path, kind: &str) -> Path {
        self.typed(beside, &format!("{}{kind}", self.name().to_upper_camel_case()))
    }

    /// Associated type of a stream of answers in the trait that tonic generates.
    pub fn stream_type(&self) -> Ident {
        Ident::new(&format!("{}Stream", self.name().to_upper_camel_case()), self.span())
    }

    fn typed(&self, beside: &Path, name: &str) -> Path {
        let mut path = if self.path.segments.len() > 1 {
            self.path.clone()
        } else {
            beside.clone()
        };
        if let Some(last) = path.segments.last_mut() {
            last.ident = Ident::new(name, self.span());
        }
        path
    }

    /// The field that carries an argument.
    pub fn field_of(&self, argument: &Ident) -> Ident {
        let named = self
            .fields
            .iter()
            .find(|field| matches!(&field.value, Value::Argument(name) if name == argument));
        named.map_or_else(|| argument.clone(), |field| field.field.clone())
    }

    /// The field that carries the name of the resource.
    pub fn name_field(&self) -> Ident {
        let named = self.fields.iter().find(|field| field.value == Value::Name);
        named.map_or_else(|| Ident::new("name", self.span()), |field| field.field.clone())
    }

    /// The fields that nobody reads.
    pub fn unused(&self) -> Vec<&Ident> {
        let unused = self.fields.iter().filter(|field| field.value == Value::Unused);
        unused.map(|field| &field.field).collect()
    }
}

impl Parse for Rpc {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let kind = match input.fork().parse::<Ident>() {
            Ok(word) if word == "stream" => Kind::Stream,
            Ok(word) if word == "announced" => Kind::Announced,
            Ok(word) if word == "upload" => Kind::Upload,
            Ok(word) if word == "duplex" => Kind::Duplex,
            _ => Kind::Unary,
        };
        if kind != Kind::Unary {
            input.parse::<Ident>()?;
        }
        let mut rpc = Self {
            kind,
            path: input.parse()?,
            fields: Vec::new(),
            result: None,
            optional: false,
            serve: None,
            call: None,
        };
        if input.peek(token::Brace) {
            let content;
            syn::braced!(content in input);
            rpc.fields = Punctuated::<Field, Token![,]>::parse_terminated(&content)?
                .into_iter()
                .collect();
        }
        if input.peek(Token![->]) {
            input.parse::<Token![->]>()?;
            rpc.result = Some(if input.peek(token::Paren) {
                let content;
                syn::parenthesized!(content in input);
                Punctuated::<Ident, Token![,]>::parse_terminated(&content)?
                    .into_iter()
                    .collect()
            } else {
                vec![input.parse()?]
            });
        }
        while input.parse::<Option<Token![,]>>()?.is_some() && !input.is_empty() {
            let word: Ident = input.parse()?;
            match word.to_string().as_str() {
                "optional" => rpc.optional = true,
                "serve" => rpc.serve = Some(value(input)?),
                "call" => rpc.call = Some(value(input)?),
                _ => {
                    return Err(syn::Error::new(
                        word.span(),
                        "expected `optional`, `serve = …` or `call = …`",
                    ));
                }
            }
        }
        let streamed = matches!(rpc.kind, Kind::Upload | Kind::Duplex);
        if streamed && (rpc.serve.is_none() || rpc.call.is_none()) {
            let text = "a stream of requests needs `serve = …` and `call = …`: no argument stands for it";
            return Err(syn::Error::new(rpc.span(), text));
        }
        Ok(rpc)
    }
}

fn value(input: ParseStream<'_>) -> Result<Path> {
    input.parse::<Token![=]>()?;
    input.parse()
}

impl Parse for Field {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let field = input.parse()?;
        input.parse::<Token![:]>()?;
        let value = if input.parse::<Option<Token![self]>>()?.is_some() {
            Value::Name
        } else if input.parse::<Option<Token![_]>>()?.is_some() {
            Value::Unused
        } else {
            Value::Argument(input.parse()?)
        };
        Ok(Self { field, value })
    }
}
