/** Sends a camera's MediaStream by WebRTC; predictions come back over a data channel. */

const CONNECT_MS = 4000;
const ALIVE_MS = 1000;
const MAX_WIDTH = 640;

export class RtcTransport {
  constructor() {
    this.unsentPictures = 0;
    this.isOver = false;
  }

  async start({ client, server, stream, onPrediction, onFault, onEnd }) {
    const iceServers = server.ice_servers.map((urls) => ({ urls }));
    const peer = (this.peer = new RTCPeerConnection({ iceServers }));
    const channel = (this.channel = peer.createDataChannel("predictions"));
    const [track] = stream.getVideoTracks();
    const sender = peer.addTrack(track, stream);
    channel.onopen = () => {
      this.aliveTimer = setInterval(() => {
        if (channel.readyState === "open") channel.send("alive");
      }, ALIVE_MS);
    };
    channel.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (message.type === "prediction") {
        clearTimeout(this.connectTimer);
        onPrediction(message);
      } else if (message.type === "error") {
        onEnd({ error: new Error(message.message) });
      } else if (message.type === "notice") onFault(new Error(message.message));
    };
    const end = (error = null) => {
      if (!this.isOver) onEnd({ error });
    };
    channel.onclose = () => end();
    peer.onconnectionstatechange = () => {
      if (["failed", "closed"].includes(peer.connectionState)) end();
    };
    this.connectTimer = setTimeout(() => end(new Error("WebRTC could not connect")), CONNECT_MS);
    await peer.setLocalDescription(await peer.createOffer());
    await gathered(peer);
    const { sdp, type } = peer.localDescription;
    const answer = await client.offer({ sdp, type });
    if (this.isOver) return;
    await peer.setRemoteDescription({ sdp: answer.sdp, type: answer.type });
    await shrink(sender, track);
  }

  stop() {
    this.isOver = true;
    clearInterval(this.aliveTimer);
    clearTimeout(this.connectTimer);
    if (this.channel && this.channel.readyState === "open") this.channel.send("bye");
    if (this.peer) this.peer.close();
  }
}

/** Wait up to a second until the browser has gathered its ICE candidates. */
function gathered(peer) {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, 1000);
    peer.onicegatheringstatechange = () => {
      if (peer.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve();
    };
  });
}

/** Send pictures no wider than the network needs. */
async function shrink(sender, track) {
  const { width = MAX_WIDTH } = track.getSettings();
  const parameters = sender.getParameters();
  if (!parameters.encodings || !parameters.encodings.length) return;
  parameters.encodings[0].scaleResolutionDownBy = Math.max(1, width / MAX_WIDTH);
  parameters.encodings[0].maxBitrate = 1_200_000;
  await sender.setParameters(parameters).catch(() => {});
}
