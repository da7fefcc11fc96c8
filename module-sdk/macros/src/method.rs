//! One method of an API, on both sides: the fields of a request become arguments, a result becomes an answer, and back.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{FnArg, GenericArgument, Ident, Pat, Path, PathArguments, Result, ReturnType, TraitItemFn, Type};

use crate::rpc::{Kind, Rpc, Value};

/// Method of the trait with its place on the wire.
pub struct Method {
    pub rpc: Rpc,
    name: Ident,
    arguments: Vec<Argument>,
    /// `T` of `Result<T>`.
    result: Type,
    signature: syn::Signature,
}

struct Argument {
    name: Ident,
    /// Type without its reference.
    kind: Type,
    borrowed: bool,
}

impl Method {
    pub fn new(rpc: Rpc, function: &TraitItemFn) -> Result<Self> {
        let mut signature = function.sig.clone();
        let mut arguments = Vec::new();
        for argument in &mut signature.inputs {
            let FnArg::Typed(argument) = argument else { continue };
            let Pat::Ident(name) = &mut *argument.pat else {
                return Err(syn::Error::new_spanned(
                    &argument.pat,
                    "an argument of an API's method needs a name",
                ));
            };
            // A default body may change its argument; the client does not.
            name.mutability = None;
            let (kind, borrowed) = match &*argument.ty {
                Type::Reference(reference) => (reference.elem.as_ref().clone(), true),
                other => (other.clone(), false),
            };
            arguments.push(Argument {
                name: name.ident.clone(),
                kind,
                borrowed,
            });
        }
        for field in &rpc.fields {
            if let Value::Argument(name) = &field.value
                && !arguments.iter().any(|argument| argument.name == *name)
            {
                return Err(syn::Error::new(
                    name.span(),
                    format!("the method has no argument `{name}`"),
                ));
            }
        }
        let result = result_type(&signature.output)
            .ok_or_else(|| syn::Error::new_spanned(&signature, "a method of an API returns `Result<…>`"))?;
        Ok(Self {
            rpc,
            name: signature.ident.clone(),
            arguments,
            result,
            signature,
        })
    }

    /// Body of a method that a model need not have.
    pub fn unimplemented(&self) -> TokenStream {
        let (names, rpc) = (self.names(), self.rpc.name());
        quote! {{
            let _ = (#(#names,)*);
            ::mainstay_module::__private::unimplemented(#rpc)
        }}
    }

    fn names(&self) -> Vec<&Ident> {
        self.arguments.iter().map(|argument| &argument.name).collect()
    }

    /// The method of the service: the request's fields become arguments, the result an answer.
    pub fn serve(&self, service: &Path, trait_name: &Ident) -> TokenStream {
        let (rpc, span) = (&self.rpc, self.rpc.span());
        let (method, request) = (rpc.method(), rpc.message(service, "Request"));
        let response = rpc.message(service, "Response");
        let name_field = rpc.name_field();
        let (fields, unused) = (self.fields(), rpc.unused());
        let arguments = self
            .arguments
            .iter()
            .zip(&fields)
            .map(|(Argument { name, kind, borrowed }, field)| {
                let kind = if *borrowed {
                    quote! { <#kind as ::std::borrow::ToOwned>::Owned }
                } else {
                    quote! { #kind }
                };
                let (text, name) = (field.to_string(), format_ident!("__{name}"));
                quote! { let #name: #kind = ::mainstay_module::__private::argument(#field, #text)?; }
            });
        let given = self.arguments.iter().map(|Argument { name, borrowed, .. }| {
            let name = format_ident!("__{name}");
            if *borrowed {
                quote! { &#name }
            } else {
                quote! { #name }
            }
        });
        let called = &self.name;
        let result = rpc.serve.as_ref().map_or_else(
            || {
                quote! {
                    let #request { #name_field: _, #(#unused: _,)* #(#fields),* } = request;
                    #(#arguments)*
                    let result = #trait_name::#called(&*resource, #(#given),*).await?;
                }
            },
            |serve| quote! { let result = #serve(resource, request).await?; },
        );
        let lookup = quote! {
            let request = request.into_inner();
            let resource = self.0.get(&request.#name_field)?;
        };
        let whole = self.to_answer(&response);
        let private = quote! { ::mainstay_module::__private };
        let (asks, stream, body) = match rpc.kind {
            Kind::Unary => {
                let answer = if rpc.serve.is_some() {
                    quote! { result }
                } else {
                    whole
                };
                (
                    quote! { #request },
                    None,
                    quote! { #lookup #result Ok(#private::Response::new(#answer)) },
                )
            }
            Kind::Stream | Kind::Announced => {
                let announced = rpc.kind == Kind::Announced;
                let answers = if rpc.serve.is_some() {
                    quote! { #private::answers(result, #announced) }
                } else {
                    quote! {
                        #private::answers(
                            #private::StreamExt::map(result, |item| {
                                let result = item?;
                                Ok(#whole)
                            }),
                            #announced,
                        )
                    }
                };
                (
                    quote! { #request },
                    Some(()),
                    quote! { #lookup #result Ok(#private::Response::new(#answers)) },
                )
            }
            Kind::Upload => {
                let serve = &rpc.serve;
                (
                    quote! { #private::Incoming<#request> },
                    None,
                    quote! { Ok(#private::Response::new(#serve(&self.0, request.into_inner()).await?)) },
                )
            }
            Kind::Duplex => {
                let serve = &rpc.serve;
                (
                    quote! { #private::Incoming<#request> },
                    Some(()),
                    quote! {
                        let answers = #serve(&self.0, request.into_inner()).await?;
                        Ok(#private::Response::new(#private::answers(answers, false)))
                    },
                )
            }
        };
        let stream_type = rpc.stream_type();
        let (declared, gives) = match stream {
            None => (None, quote! { #response }),
            Some(()) => (
                Some(quote! { type #stream_type = #private::Answers<#response>; }),
                quote! { Self::#stream_type },
            ),
        };
        quote_spanned! { span =>
            #declared
            async fn #method(
                &self,
                request: #private::Request<#asks>,
            ) -> ::std::result::Result<#private::Response<#gives>, #private::Status> {
                #body
            }
        }
    }

    /// The method of the client: the arguments become a request, the answer a result.
    pub fn call(&self, service: &Path, client: &Ident) -> TokenStream {
        let (rpc, signature) = (&self.rpc, &self.signature);
        let (names, unused, private) = (self.names(), rpc.unused(), quote! { ::mainstay_module::__private });
        if let Some(call) = &rpc.call {
            let client = quote! { #client::<()>(self.0.clone(), ::std::marker::PhantomData) };
            return quote! { #signature { #call(&#client, #(#names),*).await } };
        }
        let (method, request) = (rpc.method(), rpc.message(service, "Request"));
        let (response, name_field, fields) = (rpc.message(service, "Response"), rpc.name_field(), self.fields());
        let values = self
            .arguments
            .iter()
            .map(|Argument { name, borrowed, .. }| match borrowed {
                true => quote! { #private::Wire::into_wire(::std::borrow::ToOwned::to_owned(#name)) },
                false => quote! { #private::Wire::into_wire(#name) },
            });
        let result = self.to_result(&response);
        let answer = match rpc.kind {
            Kind::Stream | Kind::Announced => {
                let announced = rpc.kind == Kind::Announced;
                quote! {
                    let items = #private::items(answer, #announced);
                    Ok(Box::pin(#private::StreamExt::map(items, |item| {
                        let answer = item?;
                        #result
                    })))
                }
            }
            _ => result,
        };
        quote! {
            #signature {
                let request = self.0.request(#request {
                    #name_field: self.0.name().to_owned(),
                    #(#unused: Default::default(),)*
                    #(#fields: #values),*
                });
                let answer = self.0.response(async move { self.stub().#method(request).await }).await?;
                #answer
            }
        }
    }

    fn fields(&self) -> Vec<Ident> {
        self.arguments
            .iter()
            .map(|argument| self.rpc.field_of(&argument.name))
            .collect()
    }

    /// The answer that carries `result`.
    fn to_answer(&self, response: &Path) -> TokenStream {
        match self.rpc.result.as_deref() {
            None if is_unit(&self.result) => quote! {{ let () = result; #response {} }},
            None => quote! { ::mainstay_module::__private::Wire::into_wire(result) },
            Some([field]) => quote! { #response { #field: ::mainstay_module::__private::Wire::into_wire(result) } },
            Some(fields) => quote! {{
                let (#(#fields),*) = result;
                #response { #(#fields: ::mainstay_module::__private::Wire::into_wire(#fields)),* }
            }},
        }
    }

    /// The result that `answer` carries.
    fn to_result(&self, response: &Path) -> TokenStream {
        let texts = self.rpc.result.iter().flatten().map(ToString::to_string);
        match self.rpc.result.as_deref() {
            None if is_unit(&self.result) => quote! {{ let #response {} = answer; Ok(()) }},
            None => quote! { ::mainstay_module::__private::answered(answer, "the answer") },
            Some([field]) => quote! {{
                let #response { #field } = answer;
                #(::mainstay_module::__private::answered(#field, #texts))*
            }},
            Some(fields) => quote! {{
                let #response { #(#fields),* } = answer;
                Ok((#(::mainstay_module::__private::answered(#fields, #texts)?),*))
            }},
        }
    }
}

fn is_unit(kind: &Type) -> bool {
    matches!(kind, Type::Tuple(tuple) if tuple.elems.is_empty())
}

/// `T` of `Result<T>`.
fn result_type(output: &ReturnType) -> Option<Type> {
    let ReturnType::Type(_, kind) = output else { return None };
    let Type::Path(path) = &**kind else { return None };
    let PathArguments::AngleBracketed(arguments) = &path.path.segments.last()?.arguments else {
        return None;
    };
    match arguments.args.first()? {
        GenericArgument::Type(kind) => Some(kind.clone()),
        _ => None,
    }
}
