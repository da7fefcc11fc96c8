//! Both sides of the trajectory of an [`Arm`](super::arm::Arm) that is sent while it is followed.

use futures_util::{StreamExt, future, stream};
use mainstay_proto::viam::component::arm::v1::{
    MoveThroughJointPositionsStreamedRequest as Request, MoveThroughJointPositionsStreamedResponse as Response,
    move_through_joint_positions_streamed_request::{Init, Message, TrajectoryBatch},
};
use tokio::sync::mpsc;
use tonic::Streaming as Incoming;

use super::{Arm, ArmClient, TrajectoryPoint};
use crate::{
    Error, Object, Resources, Result,
    api::{Streaming, outgoing::outgoing},
    wire::Wire,
};

/// Answers the call: `init` first, then batches of points. The answers are acknowledgements; their end is the result.
pub(super) async fn serve(arms: &Resources<dyn Arm>, mut requests: Incoming<Request>) -> Result<Streaming<Response>> {
    let first = requests.message().await?.unwrap_or_default();
    let Some(Message::Init(Init { extra })) = first.message else {
        return Err(Error::invalid_argument("first message must be Init"));
    };
    let arm = arms.get(&first.name)?;
    let (taken, acknowledged) = mpsc::unbounded_channel();
    let points = requests.map(move |request| {
        let points = match request?.message {
            Some(Message::Batch(TrajectoryBatch { points })) => Wire::from_wire(points, "points")?,
            Some(Message::Init(_)) => {
                let text = "expected TrajectoryBatch, got *v1.MoveThroughJointPositionsStreamedRequest_Init_";
                return Err(Error::invalid_argument(text));
            }
            None => return Err(Error::invalid_argument("expected TrajectoryBatch, got <nil>")),
        };
        // Nobody reads them any more when the call is over.
        let _ = taken.send(());
        Ok(points)
    });
    let extra = Wire::from_wire(extra, "extra")?;
    let motion = stream::once(async move { arm.follow_trajectory(Box::pin(points), &extra).await });
    // The channel ends with the motion, which owns its sender.
    let acknowledged = stream::unfold(acknowledged, |mut acknowledged| async move {
        acknowledged
            .recv()
            .await
            .map(|()| (Ok(Response::default()), acknowledged))
    });
    let result = motion.filter_map(|result| future::ready(result.err().map(Err)));
    Ok(Box::pin(stream::select(acknowledged, result)))
}

/// Makes the call, and waits for the end of the motion.
pub(super) async fn call(client: &ArmClient, points: Streaming<Vec<TrajectoryPoint>>, extra: &Object) -> Result<()> {
    let name = client.0.name().to_owned();
    let init = Message::Init(Init {
        extra: extra.clone().into_wire(),
    });
    let (batches, broken) = outgoing(points);
    let batches = batches.map(|points| {
        Message::Batch(TrajectoryBatch {
            points: points.into_wire(),
        })
    });
    let messages = stream::iter([init]).chain(batches).map(move |message| Request {
        name: name.clone(),
        message: Some(message),
    });
    let request = client.0.request(messages);
    broken
        .or(async {
            let call = async move { client.stub().move_through_joint_positions_streamed(request).await };
            let mut answers = client.0.response(call).await?;
            while answers.message().await?.is_some() {}
            Ok(())
        })
        .await
}
