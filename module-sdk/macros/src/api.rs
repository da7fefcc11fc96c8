//! The attribute `#[api(…)]`: of a trait whose methods carry `#[rpc(…)]` it makes the gRPC service that calls a resource,
//! and the client that calls one elsewhere. Every field of every message is named in what is written here, so a field that
//! an API forgets does not compile.
//!
//! Service and client have a type parameter that says nothing: what is generic is compiled where it is used, so an API costs
//! a module nothing that does not use it.

use heck::ToSnakeCase as _;
use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{
    Expr, Ident, ItemTrait, LitStr, Path, Result, Token, TraitItem,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
    token,
};

use crate::{method::Method, rpc::Rpc, shared::Shared};

/// Arguments of `#[api(…)]`.
struct Arguments {
    /// Such as `rdk:component:motor`.
    triplet: LitStr,
    /// Such as `v1::MotorService`; its messages are beside it.
    service: Path,
    /// Methods of the service that all resources share.
    shared: Vec<Shared>,
    /// Method of the trait that stops the resource before it is closed.
    stop: Option<Ident>,
    /// Encoded descriptors, for APIs that a machine does not know.
    descriptors: Option<Expr>,
}

pub fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let arguments: Arguments = syn::parse2(arguments)?;
    let mut item: ItemTrait = syn::parse2(item)?;
    let mut methods = Vec::new();
    for member in &mut item.items {
        if let TraitItem::Fn(function) = member
            && let Some(rpc) = Rpc::take(&mut function.attrs)?
        {
            let method = Method::new(rpc, function)?;
            if method.rpc.optional && function.default.is_none() {
                function.default = Some(syn::parse2(method.unimplemented())?);
            }
            methods.push(method);
        }
    }
    let name = item.ident.clone();
    let binding = arguments.binding(&name);
    let service = arguments.service(&name, &methods)?;
    let client = arguments.client(&name, &methods)?;
    Ok(quote! {
        #[::mainstay_module::__private::async_trait]
        #item
        #binding
        #service
        #client
    })
}

impl Arguments {
    /// A path beside the service.
    fn beside(&self, name: &str) -> Path {
        let mut path = self.service.clone();
        if let Some(last) = path.segments.last_mut() {
            last.ident = Ident::new(name, last.ident.span());
        }
        path
    }

    fn service_name(&self) -> String {
        self.service
            .segments
            .last()
            .map(|last| last.ident.to_string())
            .unwrap_or_default()
    }

    /// A path in one of the two modules that tonic generates.
    fn generated(&self, side: &str, suffix: &str) -> Path {
        let service = self.service_name();
        let mut path = self.beside(&format!("{}_{side}", service.to_snake_case()));
        path.segments.push(format_ident!("{service}{suffix}").into());
        path
    }

    /// What ties the trait to its service: the constants and constructors of `ResourceApi`.
    fn binding(&self, name: &Ident) -> TokenStream {
        let triplet = &self.triplet;
        let server = self.generated("server", "Server");
        let (client, rpcs) = (format_ident!("{name}Client"), format_ident!("{name}Rpcs"));
        let descriptors = self.descriptors.as_ref().map(|bytes| {
            quote! { const DESCRIPTORS: &'static [u8] = #bytes; }
        });
        let halt = self.stop.as_ref().map(|stop| {
            quote! {
                #[inline]
                fn halt(resource: ::std::sync::Arc<Self>) -> Option<::mainstay_module::StopFuture> {
                    Some(Box::pin(async move { #name::#stop(&*resource, ::mainstay_module::NO_EXTRA).await }))
                }
            }
        });
        quote! {
            impl ::mainstay_module::ResourceApi for dyn #name {
                const API: &'static str = #triplet;
                const SERVICE: &'static str =
                    <#server<#rpcs<()>> as ::mainstay_module::__private::NamedService>::NAME;
                #descriptors

                #[inline]
                fn serve(resources: ::mainstay_module::Resources<Self>) -> ::mainstay_module::Service {
                    ::mainstay_module::Service::new(
                        #server::new(#rpcs::<()>(resources, ::std::marker::PhantomData))
                            .max_decoding_message_size(::mainstay_module::MAX_MESSAGE_BYTES)
                            .max_encoding_message_size(::mainstay_module::MAX_MESSAGE_BYTES),
                    )
                }

                #[inline]
                fn client(
                    channel: ::mainstay_module::ResourceChannel,
                ) -> ::mainstay_module::Result<::std::sync::Arc<Self>> {
                    Ok(::std::sync::Arc::new(#client::<()>(channel, ::std::marker::PhantomData)))
                }

                #halt
            }

            impl<R: #name> ::mainstay_module::Implements<R> for dyn #name {
                fn erase(resource: ::std::sync::Arc<R>) -> ::std::sync::Arc<Self> {
                    resource
                }
            }
        }
    }

    /// The implementation of the service's trait.
    fn service(&self, name: &Ident, methods: &[Method]) -> Result<TokenStream> {
        let service = self.generated("server", "");
        let rpcs = methods.iter().map(|method| method.serve(&self.service, name));
        let shared = self.shared.iter().map(Shared::serve).collect::<Result<Vec<_>>>()?;
        let of = format_ident!("{name}Rpcs");
        let doc = format!("gRPC service of [`{name}`].");
        Ok(quote! {
            #[doc = #doc]
            struct #of<M = ()>(::mainstay_module::Resources<dyn #name>, ::std::marker::PhantomData<fn() -> M>);

            #[::mainstay_module::__private::async_trait]
            #[allow(clippy::unit_arg, clippy::let_unit_value, reason = "of methods that return nothing")]
            impl<M: 'static> #service for #of<M> {
                #(#rpcs)*
                #(#shared)*
            }
        })
    }

    /// The client: the trait, implemented by calls.
    fn client(&self, name: &Ident, methods: &[Method]) -> Result<TokenStream> {
        let stub = self.generated("client", "Client");
        let client = format_ident!("{name}Client");
        let calls = methods.iter().map(|method| method.call(&self.service, &client));
        let shared = self.shared.iter().map(Shared::call).collect::<Result<Vec<_>>>()?;
        let doc = format!("gRPC client of [`{name}`].");
        Ok(quote! {
            #[doc = #doc]
            struct #client<M = ()>(::mainstay_module::ResourceChannel, ::std::marker::PhantomData<fn() -> M>);

            impl<M> #client<M> {
                fn stub(&self) -> #stub<::mainstay_module::Connection> {
                    #stub::with_origin(self.0.connection().clone(), ::mainstay_module::__private::origin())
                        .max_decoding_message_size(::mainstay_module::MAX_MESSAGE_BYTES)
                        .max_encoding_message_size(::mainstay_module::MAX_MESSAGE_BYTES)
                }
            }

            #[::mainstay_module::__private::async_trait]
            impl<M: 'static> ::mainstay_module::Resource for #client<M> {
                #(#shared)*
            }

            #[::mainstay_module::__private::async_trait]
            #[allow(clippy::unit_arg, clippy::let_unit_value, reason = "of methods that return nothing")]
            impl<M: 'static> #name for #client<M> {
                #(#calls)*
            }
        })
    }
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let triplet = input.parse()?;
        input.parse::<Token![,]>()?;
        let service = input.parse()?;
        let mut arguments = Self {
            triplet,
            service,
            shared: Vec::new(),
            stop: None,
            descriptors: None,
        };
        if input.peek(token::Brace) {
            let content;
            syn::braced!(content in input);
            arguments.shared = Punctuated::<Shared, Token![,]>::parse_terminated(&content)?
                .into_iter()
                .collect();
        }
        while input.parse::<Option<Token![,]>>()?.is_some() && !input.is_empty() {
            let word: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            match word.to_string().as_str() {
                "stop" => arguments.stop = Some(input.parse()?),
                "descriptors" => arguments.descriptors = Some(input.parse()?),
                _ => return Err(syn::Error::new(word.span(), "expected `stop = …` or `descriptors = …`")),
            }
        }
        Ok(arguments)
    }
}
