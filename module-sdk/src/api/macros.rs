//! Macros for the parts that all APIs share: the implementation of [`ResourceApi`](crate::ResourceApi), the lookup of a
//! request's resource, and the sending of a client's request.

/// Implements [`ResourceApi`](crate::ResourceApi) for `dyn $api`, and a `$client` with the methods that all APIs share.
///
/// `with get_geometries` adds that method of the proto; `halted by stop` stops a resource before it is closed.
macro_rules! resource_api {
    (
        dyn $api:ident = $triplet:literal via $server:ident, $stub:ident as $client:ident
        $(with $geometries:ident)? $(, halted by $stop:ident)?
    ) => {
        impl $crate::ResourceApi for dyn $api {
            const API: &'static str = $triplet;
            const SERVICE: &'static str = <$server<$crate::api::Serve<dyn $api>> as tonic::server::NamedService>::NAME;

            fn serve(resources: $crate::Resources<Self>) -> $crate::Service {
                $crate::Service::new(
                    $server::new($crate::api::Serve(resources))
                        .max_decoding_message_size($crate::MAX_MESSAGE_BYTES)
                        .max_encoding_message_size($crate::MAX_MESSAGE_BYTES),
                )
            }

            fn client(channel: $crate::ResourceChannel) -> $crate::Result<std::sync::Arc<Self>> {
                Ok(std::sync::Arc::new($client(channel)))
            }

            $(fn halt(resource: std::sync::Arc<Self>) -> Option<$crate::resource::StopFuture> {
                Some(Box::pin(async move { $api::$stop(&*resource, $crate::NO_EXTRA).await }))
            })?
        }

        impl<R: $api> $crate::Implements<R> for dyn $api {
            fn erase(resource: std::sync::Arc<R>) -> std::sync::Arc<Self> {
                resource
            }
        }

        /// gRPC client of a resource of this API.
        struct $client($crate::ResourceChannel);

        impl $client {
            fn stub(&self) -> $stub<$crate::Connection> {
                $stub::with_origin(self.0.connection().clone(), $crate::client::origin())
                    .max_decoding_message_size($crate::MAX_MESSAGE_BYTES)
                    .max_encoding_message_size($crate::MAX_MESSAGE_BYTES)
            }

            fn name(&self) -> String {
                self.0.name().to_owned()
            }
        }

        #[async_trait::async_trait]
        impl $crate::Resource for $client {
            async fn do_command(&self, command: $crate::Object) -> $crate::Result<$crate::Object> {
                let command = Some($crate::value::wire::to_struct(command));
                let request = mainstay_proto::viam::common::v1::DoCommandRequest { name: self.name(), command };
                let answer = $crate::api::macros::send!(self.do_command(request))?;
                Ok($crate::value::wire::from_struct(answer.result))
            }

            async fn status(&self) -> $crate::Result<$crate::Object> {
                let request = mainstay_proto::viam::common::v1::GetStatusRequest { name: self.name() };
                let answer = $crate::api::macros::send!(self.get_status(request))?;
                Ok($crate::value::wire::from_struct(answer.result))
            }

            $(async fn geometries(
                &self,
                extra: &$crate::Object,
            ) -> $crate::Result<Option<Vec<$crate::spatial::Geometry>>> {
                let extra = $crate::value::wire::to_extra(extra);
                let request = mainstay_proto::viam::common::v1::GetGeometriesRequest { name: self.name(), extra };
                let answer = $crate::api::macros::send!(self.$geometries(request))?;
                Ok(Some(answer.geometries.into_iter().filter_map($crate::spatial::Geometry::from_wire).collect()))
            })?
        }
    };
}

/// Sends a client's request with the deadline and the metadata of the running call, and returns the response message.
macro_rules! send {
    ($self:ident.$method:ident($request:expr)) => {{
        let request = $self.0.request($request);
        $self
            .0
            .response(async move { $self.stub().$method(request).await })
            .await
    }};
}

/// Implements a generated service trait: each method looks up the resource by the name in the request (field `name`, or
/// the one given by `by`) and evaluates its body, in which `?` converts the SDK's errors.
macro_rules! serve {
    (
        impl $service:ident for dyn $api:ident $(with $geometries:ident)? {
            $(fn $method:ident($resource:ident, $request:ident: $wants:ty $(, by $by:ident)?) -> $gives:ty $body:block)*
        }
        $(also { $($item:tt)* })?
    ) => {
        #[async_trait::async_trait]
        impl $service for $crate::api::Serve<dyn $api> {
            $(async fn $method(
                &self,
                request: tonic::Request<$wants>,
            ) -> Result<tonic::Response<$gives>, tonic::Status> {
                let $request = request.into_inner();
                let $resource = self.0.get(&$crate::api::macros::serve!(@name $request $($by)?))?;
                let answer: $crate::Result<$gives> = async { Ok($body) }.await;
                Ok(tonic::Response::new(answer?))
            })*

            async fn do_command(
                &self,
                request: tonic::Request<mainstay_proto::viam::common::v1::DoCommandRequest>,
            ) -> Result<tonic::Response<mainstay_proto::viam::common::v1::DoCommandResponse>, tonic::Status> {
                Ok(tonic::Response::new(self.0.do_command(request.into_inner()).await?))
            }

            async fn get_status(
                &self,
                request: tonic::Request<mainstay_proto::viam::common::v1::GetStatusRequest>,
            ) -> Result<tonic::Response<mainstay_proto::viam::common::v1::GetStatusResponse>, tonic::Status> {
                Ok(tonic::Response::new(self.0.status(request.into_inner()).await?))
            }

            $(async fn $geometries(
                &self,
                request: tonic::Request<mainstay_proto::viam::common::v1::GetGeometriesRequest>,
            ) -> Result<tonic::Response<mainstay_proto::viam::common::v1::GetGeometriesResponse>, tonic::Status> {
                Ok(tonic::Response::new(self.0.geometries(request.into_inner()).await?))
            })?

            $($($item)*)?
        }
    };
    (@name $request:ident) => { $request.name };
    (@name $request:ident $by:ident) => { $request.$by };
}

pub(crate) use {resource_api, send, serve};
