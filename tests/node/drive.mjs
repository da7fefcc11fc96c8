// Connects directly, as a program of the SDK's users does in Node: by gRPC-web over `fetch`, or by gRPC over HTTP/2.
// Prints one JSON object.
const [host, way] = process.argv.slice(2);
if (way === 'grpc') {
  const { createGrpcTransport } = await import('@connectrpc/connect-node');
  globalThis.VIAM = { GRPC_TRANSPORT_FACTORY: (options) => createGrpcTransport({ httpVersion: '2', ...options }) };
}
const { MotorClient, RobotClient } = await import('@viamrobotics/sdk');
const machine = new RobotClient();
await machine.dial({ host, noReconnect: true });
const motor = new MotorClient(machine, 'left');
await motor.setPower(0.5);
const powered = await motor.isPowered();
await motor.stop();
const names = (await machine.resourceNames()).map((resource) => resource.name);
const refused = await new MotorClient(machine, 'nobody').isPowered().catch((error) => [error.code, error.rawMessage]);
console.log(JSON.stringify({ powered, names, refused }));
await machine.disconnect();
process.exit(0);
