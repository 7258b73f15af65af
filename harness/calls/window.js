// What a call window is given before Delta Chat's call UI loads: the microphone and camera of the harness, the calls
// that a messenger answers (window.calls), and an RTCPeerConnection that can be listened to and counted.
//
// It is a function of its settings: {iceServers, policy, video, stream, noise, mutes, clock}. What it keeps for the
// program outside is `window.harness`. Times are milliseconds of the machine's monotonic clock, which is the unix time
// less `clock`; those of events are unix.
(settings) => {
  const RATE = 48000;
  const TICK = 20; // ms from one look at the clock to the next: a page that is late says so
  const WIDTH = 80; // to which pictures are made smaller, at least, before they are kept
  const MOST_PICTURES = 20000;
  const MOST_PACKETS = 900 * 50;
  const NUMBER_EVERY = 10; // ms
  const QUIET = 32 / 32768; // below it, nothing has been heard yet
  const PATIENCE = 250; // ms for which a question waits for its answer
  const GOODBYE = 50; // ms from the last words to the end

  const events = [];
  let looks = ""; // what a person sees: nothing before the UI has loaded
  const clock = () => performance.timeOrigin + performance.now() - settings.clock;
  const emit = (kind, fields = {}) => events.push({ kind, time: clock() + settings.clock, ...fields });

  // Pictures are sent by this thread: how late it was at worst, since the call was up, and when it was up. Sound is sent
  // by others: how long there was none.
  const pace = { longest: 0, last: clock(), since: null, played: 0, still: 0, silent: 0, spoke: 0 };
  const going = () => {
    filming = true;
    pace.last = pace.since = pace.spoke = clock();
  };
  const speak = (at) => {
    if (pace.since === null || at < pace.spoke) return;
    pace.silent = Math.max(pace.silent, at - pace.spoke);
    pace.spoke = at;
  };
  setInterval(() => {
    const now = clock();
    if (pace.since !== null) pace.longest = Math.max(pace.longest, now - pace.last);
    else if (looks) pace.still = Math.max(pace.still, now - pace.last);
    pace.last = now;
    const offset = now - context.currentTime * 1000;
    const segment = sound.segments.at(-1);
    if (segment && context.state === "running") segment.offset = Math.min(segment.offset, offset);
  }, TICK);

  // Microphone
  const context = new AudioContext({ sampleRate: RATE });
  const sound = { started: 0, segments: [], gain: null }; // segments: since when the context runs, and its offset to the clock
  const microphone = () => {
    const bytes = atob(settings.noise);
    const samples = new Float32Array(bytes.length / 2);
    for (let at = 0; at < samples.length; at++)
      samples[at] = (((bytes.charCodeAt(2 * at) | (bytes.charCodeAt(2 * at + 1) << 8)) << 16) >> 16) / 32768;
    const buffer = context.createBuffer(1, samples.length, RATE);
    buffer.copyToChannel(samples, 0);
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.loop = true;
    sound.gain = context.createGain();
    const destination = context.createMediaStreamDestination();
    destination.channelCount = 1;
    source.connect(sound.gain).connect(destination);
    source.start();
    sound.started = context.currentTime * 1000;
    sound.segments.push({ from: sound.started, offset: Infinity });
    for (const [start, end] of settings.mutes) {
      sound.gain.gain.setValueAtTime(0, context.currentTime + start);
      sound.gain.gain.setValueAtTime(1, context.currentTime + end);
    }
    return destination.stream.getAudioTracks()[0];
  };

  // Camera
  const shown = []; // when each picture was handed over
  let filming = false; // until the call is up: so each picture is sent, or was left out
  const crc = (bytes) => {
    let sum = 0xffff;
    for (const byte of bytes) {
      sum ^= byte << 8;
      for (let bit = 0; bit < 8; bit++) sum = ((sum << 1) ^ (sum & 0x8000 ? 0x1021 : 0)) & 0xffff;
    }
    return sum;
  };
  const edges = (size) => Array.from({ length: 9 }, (_, index) => Math.round(size * (0.05 + (0.9 * index) / 8)));
  const draw = (luma, width, height, number) => {
    const time = Math.floor(clock()) % 0x1000000;
    const code = [settings.stream, (number >> 8) & 255, number & 255, time >> 16, (time >> 8) & 255, time & 255];
    const sum = crc(code);
    code.push(sum >> 8, sum & 255);
    const columns = edges(width);
    const rows = edges(height);
    luma.fill(128);
    for (let row = 0; row < 8; row++)
      for (let y = rows[row]; y < rows[row + 1]; y++)
        for (let column = 0; column < 8; column++)
          luma.fill((code[row] >> (7 - column)) & 1 ? 235 : 16, y * width + columns[column], y * width + columns[column + 1]);
  };
  const camera = () => {
    const [width, height, rate] = settings.video;
    const track = new MediaStreamTrackGenerator({ kind: "video" });
    const writer = track.writable.getWriter();
    const planes = new Uint8Array((width * height * 3) / 2).fill(128);
    const begun = performance.now();
    let due = 0;
    const film = () => {
      if (filming && writer.desiredSize > 0) {
        draw(planes.subarray(0, width * height), width, height, shown.length);
        writer.write(new VideoFrame(planes, {
          format: "I420", codedWidth: width, codedHeight: height, timestamp: Math.round(performance.now() * 1000),
        }));
        shown.push(clock());
      }
      due += 1;
      setTimeout(film, begun + (due * 1000) / rate - performance.now());
    };
    film();
    return track;
  };

  const native = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    // The browser's own (fake) device first: with the permission, ICE uses the addresses that it does in a real call.
    for (const each of (await native({ audio: true })).getTracks()) each.stop();
    const tracks = [];
    if (wanted.audio) tracks.push(microphone());
    if (wanted.video) tracks.push(camera());
    return new MediaStream(tracks);
  };

  // What arrives. Sound is kept as it comes, encoded, by a thread of its own: what a late machine does to the jitter buffer
  // says nothing about the way there. From the track comes when a person heard something first.
  const packets = []; // [ms, RTP time stamp, bytes]
  const seen = [];
  const TAP = `onrtctransform = async ({ transformer: { readable, writable, options } }) => {
    const writer = writable.getWriter();
    for await (const frame of readable) {
      const time = performance.timeOrigin + performance.now();
      postMessage(options === "sent" ? [time] : [time, frame.getMetadata().rtpTimestamp, frame.data.slice(0)]);
      writer.write(frame);
    }
  };`;
  const tap = new Worker(URL.createObjectURL(new Blob([TAP])));
  tap.onmessage = ({ data: [time, stamp, data] }) => {
    if (!data) speak(time - settings.clock);
    else if (packets.length < MOST_PACKETS) packets.push([time - settings.clock, stamp, new Uint8Array(data)]);
  };
  const keepSound = (receiver) => {
    if (receiver.track.kind === "audio" && !receiver.transform) receiver.transform = new RTCRtpScriptTransform(tap);
  };
  const timeSound = (sender) => {
    if (!sender.transform) sender.transform = new RTCRtpScriptTransform(tap, "sent");
  };
  const first = new Set();
  const arrive = (kind) => {
    if (!first.has(kind)) {
      first.add(kind);
      emit("first", { media: kind });
    }
  };
  const hear = (data) => {
    const samples = new Float32Array(data.numberOfFrames);
    data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    if (samples.some((each) => Math.abs(each) > QUIET)) arrive("audio");
  };
  const see = async (frame) => {
    const now = clock();
    arrive("video");
    if (seen.length >= MOST_PICTURES) return;
    const bytes = new Uint8Array(frame.allocationSize());
    const [plane] = await frame.copyTo(bytes);
    const { width, height } = frame.visibleRect;
    const step = Math.max(1, Math.floor(width / WIDTH));
    const small = new Uint8Array(Math.floor(width / step) * Math.floor(height / step));
    let at = 0;
    for (let y = 0; y + step <= height; y += step)
      for (let x = 0; x + step <= width; x += step) small[at++] = bytes[plane.offset + (y + (step >> 1)) * plane.stride + x + (step >> 1)];
    seen.push([now, Math.floor(width / step), Math.floor(height / step), small]);
  };
  const listen = async (track) => {
    const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 100 }).readable.getReader();
    while (track.kind === "video" || !first.has("audio")) {
      const { done, value } = await reader.read();
      if (done) return;
      try {
        await (track.kind === "audio" ? hear(value) : see(value));
      } catch (error) {
        emit("error", { text: String(error) });
      } finally {
        value.close();
      }
    }
    await reader.cancel();
  };

  // The connection
  let connection = null;
  let numbers = null;
  let ending = null;
  let last = null; // stats of a connection that is closed
  const channels = [];
  const sent = { numbers: 0 };
  const received = [];
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class RTCPeerConnection extends Native {
    constructor(configuration) {
      super({ ...configuration, iceTransportPolicy: settings.policy });
      connection = this;
      this.addEventListener("track", ({ track, receiver }) => {
        keepSound(receiver);
        listen(track);
      });
      this.addEventListener("iceconnectionstatechange", () => emit("ice", { state: this.iceConnectionState }));
      this.addEventListener("connectionstatechange", () => {
        if (this.connectionState === "connected" && pace.since === null) going();
        emit("connection", { state: this.connectionState });
      });
      this.addEventListener("icecandidateerror", ({ url, errorCode, errorText }) =>
        emit("refused", { url, code: errorCode, text: errorText }));
      numbers = super.createDataChannel("harness", { negotiated: true, id: 5 });
      channels.push(numbers);
      numbers.addEventListener("open", () => emit("channel", { label: "harness" }));
      numbers.addEventListener("message", ({ data }) => received.push(Number(data)));
    }
    setConfiguration(configuration) {
      super.setConfiguration({ ...configuration, iceTransportPolicy: settings.policy });
    }
    close() {
      // What closing itself sends is in no count of the page: all that can be said before is said, and counted.
      ending ??= (async () => {
        for (const each of channels) each.close();
        for (const each of this.getTransceivers()) each.stop();
        await new Promise((resolve) => setTimeout(resolve, GOODBYE));
        last = await stats();
        super.close();
      })();
    }
    addTransceiver(...what) {
      const transceiver = super.addTransceiver(...what);
      keepSound(transceiver.receiver); // who offers: after the answer it is too late
      if (transceiver.receiver.track.kind === "audio") timeSound(transceiver.sender);
      return transceiver;
    }
    addTrack(...what) {
      const sender = super.addTrack(...what);
      if (sender.track.kind === "audio") timeSound(sender);
      return sender;
    }
    createDataChannel(label, options) {
      const channel = super.createDataChannel(label, options);
      channels.push(channel);
      channel.addEventListener("open", () => emit("channel", { label }));
      channel.addEventListener("message", ({ data }) => {
        const said = JSON.parse(data);
        if (label === "mutedState") emit("muted", said);
        else if (label === "iceTrickling") emit("candidate", { candidate: said && said.candidate });
      });
      return channel;
    }
  };

  // The messenger
  const said = { offer: null, answer: null, ended: false };
  window.calls = {
    startCall: (sdp) => {
      said.offer = sdp;
    },
    acceptCall: (sdp) => {
      said.answer = sdp;
    },
    endCall: () => {
      said.ended = true;
    },
    getIceServers: () => settings.iceServers,
  };

  // What a person sees
  const look = () => {
    const all = (selector, text) => [...document.querySelectorAll(selector)].map(text).filter(Boolean);
    const shown = {
      status: all("[role=status]", (each) => each.textContent.trim()),
      buttons: all("button[aria-label]", (each) => each.getAttribute("aria-label")),
    };
    if (looks !== (looks = JSON.stringify(shown)) && shown.buttons.length) emit("shown", shown);
  };
  document.addEventListener("DOMContentLoaded", () =>
    new MutationObserver(look).observe(document.body, {
      childList: true, subtree: true, characterData: true, attributeFilter: ["aria-label"],
    }));

  const base64 = (bytes) => {
    let text = "";
    for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
    return btoa(text);
  };
  const ENTRIES = ["transport", "candidate-pair", "local-candidate", "remote-candidate", "inbound-rtp", "outbound-rtp"];
  const stats = async () => ({
    entries: [...(await connection.getStats()).values()].filter(({ type }) => ENTRIES.includes(type)),
    ice: connection.iceConnectionState,
    connection: connection.connectionState,
    seconds: (pace.played + (pace.since === null ? 0 : clock() - pace.since)) / 1000,
    silent: Math.max(pace.silent, pace.since === null ? 0 : clock() - pace.spoke) / 1000,
    longest: Math.max(pace.longest, pace.since === null ? 0 : clock() - pace.last) / 1000,
    still: pace.still / 1000,
    filmed: shown.length,
    sent: sent.numbers,
    received,
  });
  const soon = async (condition) => {
    // A page that is asked again and again has less time for its call.
    const end = performance.now() + PATIENCE;
    while (!condition() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, TICK));
    return condition();
  };
  window.harness = {
    take: () => events.splice(0),
    said: (what) => soon(() => said[what]),
    has: (label) => soon(() => document.querySelector(`[aria-label="${label}"]`) !== null),
    stats: async () => last ?? stats(),
    ended: async () => {
      await soon(() => ending);
      await ending;
      return last ?? stats();
    },
    heard: () => packets.map(([time, stamp, bytes]) => [time, stamp, base64(bytes)]),
    seen: () => seen.map(([now, width, height, luma]) => [now, width, height, base64(luma)]),
    sent: () => ({ shown, started: sound.started, played: context.currentTime * 1000, segments: sound.segments }),
    send: (count) => {
      const last = sent.numbers + count;
      const timer = setInterval(() => {
        if (sent.numbers >= last) clearInterval(timer);
        else numbers.send(String(sent.numbers++));
      }, NUMBER_EVERY);
    },
    pause: async (paused) => {
      if (paused === (context.state === "suspended")) return;
      if (paused) {
        pace.played += clock() - pace.since;
        pace.since = null;
        filming = false;
        await context.suspend();
      } else {
        await context.resume();
        sound.segments.push({ from: context.currentTime * 1000, offset: Infinity });
        going();
      }
    },
  };
};
