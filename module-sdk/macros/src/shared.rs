//! Methods that all resources share, `DoCommand` and its like: the SDK answers them, whatever the API.

use heck::ToSnakeCase as _;
use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{
    Ident, Path, Result, Token,
    parse::{Parse, ParseStream},
};

/// Method that all resources share, and who answers it if not the usual.
pub struct Shared {
    name: Ident,
    by: Option<Path>,
}

impl Shared {
    /// The method of the service, the one of `Resources`, the one of `Resource`.
    fn names(&self) -> Result<(Ident, Ident, Ident)> {
        let name = self.name.to_string();
        let (of_resources, of_resource) = match name.as_str() {
            "DoCommand" => ("do_command", "do_command"),
            "GetStatus" => ("status", "status"),
            "GetGeometries" => ("geometries", "geometries"),
            _ => {
                let text = "expected `DoCommand`, `GetStatus` or `GetGeometries`, which all resources share";
                return Err(syn::Error::new(self.name.span(), text));
            }
        };
        let ident = |text: &str| Ident::new(text, self.name.span());
        Ok((ident(&name.to_snake_case()), ident(of_resources), ident(of_resource)))
    }

    fn messages(&self) -> (Ident, Ident) {
        (
            format_ident!("{}Request", self.name),
            format_ident!("{}Response", self.name),
        )
    }

    /// The method of the service.
    pub fn serve(&self) -> Result<TokenStream> {
        let (method, of_resources, _) = self.names()?;
        let (request, response) = self.messages();
        let by = self.by.as_ref().map_or_else(
            || quote! { ::mainstay_module::Resources::#of_resources },
            |path| quote! { #path },
        );
        Ok(quote! {
            async fn #method(
                &self,
                request: ::mainstay_module::__private::Request<::mainstay_module::__private::common::#request>,
            ) -> ::std::result::Result<
                ::mainstay_module::__private::Response<::mainstay_module::__private::common::#response>,
                ::mainstay_module::__private::Status,
            > {
                let answer = #by(&self.0, request.into_inner()).await?;
                Ok(::mainstay_module::__private::Response::new(answer))
            }
        })
    }

    /// The method of the client.
    pub fn call(&self) -> Result<TokenStream> {
        let (method, _, of_resource) = self.names()?;
        let (argument, result) = match &*self.name.to_string() {
            "DoCommand" => (
                Some(quote! { command: ::mainstay_module::Object }),
                quote! { ::mainstay_module::Object },
            ),
            "GetStatus" => (None, quote! { ::mainstay_module::Object }),
            _ => (
                Some(quote! { extra: &::mainstay_module::Object }),
                quote! { Option<Vec<::mainstay_module::spatial::Geometry>> },
            ),
        };
        let given = argument
            .as_ref()
            .map(|argument| match argument.to_string().starts_with("command") {
                true => quote! { command },
                false => quote! { extra },
            });
        let read = format_ident!("{of_resource}_result");
        Ok(quote! {
            async fn #of_resource(&self, #argument) -> ::mainstay_module::Result<#result> {
                let request = ::mainstay_module::__private::shared::#method(self.0.name(), #given);
                let request = self.0.request(request);
                let answer = self.0.response(async move { self.stub().#method(request).await }).await?;
                Ok(::mainstay_module::__private::shared::#read(answer))
            }
        })
    }
}

impl Parse for Shared {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = input.parse()?;
        let by = match input.parse::<Option<Token![:]>>()? {
            Some(_) => Some(input.parse()?),
            None => None,
        };
        Ok(Self { name, by })
    }
}
