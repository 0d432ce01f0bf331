//! Calling any method by its path, with bytes: for tests that go through the whole schema.

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use tandem_service_kit::peer::PeerChannel;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status};

use crate::system::{Service, System};

/// Which service serves a method, by its path.
pub fn served_by(path: &str) -> Vec<Service> {
    match path {
        path if path.starts_with("/tandem.console.") => vec![Service::Console],
        path if path.starts_with("/tandem.billing.") => vec![Service::Billing],
        path if path.starts_with("/tandem.marketplace.") => vec![Service::Gateway],
        path if path.starts_with("/tandem.common.v1.OutboxService/")
            || path.starts_with("/tandem.common.v1.AuditService/") =>
        {
            vec![Service::Console, Service::Billing]
        }
        _ => Service::ALL.to_vec(),
    }
}

impl System {
    /// Calls a method without any token.
    pub async fn call_without_token(
        &self,
        service: Service,
        path: &str,
        message: Bytes,
    ) -> anyhow::Result<Status> {
        let endpoint =
            tonic::transport::Endpoint::from_shared(format!("http://{}", service.address(&self.addresses)))?;
        match call(endpoint.connect().await?, path, message).await {
            Ok(_) => anyhow::bail!("{path} answers without a token"),
            Err(status) => Ok(status),
        }
    }
}

/// [`call`] in a caller's name.
pub async fn call_as(channel: PeerChannel, path: &str, message: Bytes) -> Result<Option<Bytes>, Status> {
    call(channel, path, message).await
}

/// Calls a method of any shape with one message and returns the first message of the answer.
///
/// Fails with the status the service answered.
pub async fn call<C>(channel: C, path: &str, message: Bytes) -> Result<Option<Bytes>, Status>
where
    C: GrpcService<Body>,
    C::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <C::ResponseBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    C::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.into().to_string()))?;
    let path: PathAndQuery = path.parse().map_err(|_| Status::invalid_argument("no path"))?;
    let response = client.streaming(Request::new(tokio_stream::once(message)), path, RawCodec).await?;
    response.into_inner().message().await
}

/// Bytes in, bytes out.
#[derive(Debug, Clone, Copy, Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = RawCodec;
    type Decoder = RawCodec;

    fn encoder(&mut self) -> RawCodec {
        RawCodec
    }

    fn decoder(&mut self) -> RawCodec {
        RawCodec
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
