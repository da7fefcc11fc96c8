//! `rdk:service:data_manager`: captures data and brings them to where they are kept.

use bytes::Bytes;
use mainstay_proto::viam::{app::datasync::v1 as datasync, service::datamanager::v1};

use crate::{Object, Resource, Result, api, wire::Message};

/// Data manager (`rdk:service:data_manager`).
///
/// ```
/// use bytes::Bytes;
/// use mainstay_module::{api::data_manager::{BinaryType, DataManager}, prelude::*};
/// # struct Recorder;
/// # impl Resource for Recorder {}
///
/// #[async_trait]
/// impl DataManager for Recorder {
///     async fn sync(&self, extra: &Object) -> Result<()> {
///         Err(Error::unknown("not connected to the cloud"))
///     }
///     async fn upload_binary_data_to_datasets(
///         &self, data: Bytes, dataset_ids: &[String], tags: &[String], mime_type: BinaryType, extra: &Object,
///     ) -> Result<()> {
///         Err(Error::unknown("not connected to the cloud"))
///     }
/// }
/// ```
#[api("rdk:service:data_manager", v1::DataManagerService { DoCommand, GetStatus })]
pub trait DataManager: Resource {
    /// Uploads what has been captured, and returns when that is done.
    #[rpc(Sync)]
    async fn sync(&self, extra: &Object) -> Result<()>;

    /// Uploads a file's contents into datasets.
    #[rpc(UploadBinaryDataToDatasets { binary_data: data })]
    async fn upload_binary_data_to_datasets(
        &self,
        data: Bytes,
        dataset_ids: &[String],
        tags: &[String],
        mime_type: BinaryType,
        extra: &Object,
    ) -> Result<()>;
}

/// Type of an uploaded file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Message)]
#[message(datasync::MimeType, default)]
pub enum BinaryType {
    /// Not said.
    #[default]
    Unspecified,
    /// JPEG image.
    #[message(ImageJpeg)]
    Jpeg,
    /// PNG image.
    #[message(ImagePng)]
    Png,
    /// PCD point cloud.
    #[message(ApplicationPcd)]
    Pcd,
    /// MP4 video.
    #[message(VideoMp4)]
    Mp4,
}
