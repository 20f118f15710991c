/**
 * stepbox — a sixteen-step drum machine and bass line for the browser.
 *
 * The module knows nothing about the page apart from the one element it is
 * given; all state lives in a plain object that can be saved to the URL hash
 * and pasted into a chat. Sound is made on the fly (no samples to download),
 * so the first click has to come from the user: browsers keep the audio clock
 * stopped until then.
 *
 *	import { StepBox } from './stepbox.mjs';
 *	const box = new StepBox(document.querySelector('#machine'));
 *	box.load(location.hash.slice(1));
 */

const STEPS = 16;
const LOOKAHEAD_MS = 25;     // how often the scheduler wakes up
const HORIZON_S = 0.12;      // how far ahead it commits notes to the audio clock
const FORMAT_VERSION = 3;

const SCALES = {
	minor: [0, 2, 3, 5, 7, 8, 10],
	dorian: [0, 2, 3, 5, 7, 9, 10],
	phrygian: [0, 1, 3, 5, 7, 8, 10],
	pentatonic: [0, 3, 5, 7, 10],
	chromatic: Array.from({ length: 12 }, (_, i) => i),
};

const DEFAULT_KIT = [
	{ id: 'kick', name: 'Kick', colour: '#e4572e', gain: 0.95 },
	{ id: 'snare', name: 'Snare', colour: '#f3a712', gain: 0.7 },
	{ id: 'hat', name: 'Closed hat', colour: '#a8c686', gain: 0.35, choke: 'hats' },
	{ id: 'open', name: 'Open hat', colour: '#669bbc', gain: 0.35, choke: 'hats' },
	{ id: 'clap', name: 'Clap', colour: '#c05299', gain: 0.6 },
];

/* ------------------------------------------------------------------ */
/* Voices                                                               */
/* ------------------------------------------------------------------ */

class NoisePool {
	#buffers = new Map();

	constructor(ctx) {
		this.ctx = ctx;
	}

	/** White noise of the given length; made once, then shared by all hits. */
	get(seconds) {
		const key = Math.round(seconds * 100);
		if (!this.#buffers.has(key)) {
			const frames = Math.ceil(this.ctx.sampleRate * seconds);
			const buffer = this.ctx.createBuffer(1, frames, this.ctx.sampleRate);
			const data = buffer.getChannelData(0);
			for (let i = 0; i < frames; i++) data[i] = Math.random() * 2 - 1;
			this.#buffers.set(key, buffer);
		}
		return this.#buffers.get(key);
	}
}

const voices = {
	kick({ ctx, out, at, accent }) {
		const osc = ctx.createOscillator();
		const amp = ctx.createGain();
		osc.frequency.setValueAtTime(accent ? 190 : 155, at);
		osc.frequency.exponentialRampToValueAtTime(44, at + 0.09);
		amp.gain.setValueAtTime(1, at);
		amp.gain.exponentialRampToValueAtTime(0.001, at + 0.42);
		osc.connect(amp).connect(out);
		osc.start(at);
		osc.stop(at + 0.45);
		return amp;
	},

	snare({ ctx, out, at, noise }) {
		const body = ctx.createOscillator();
		const bodyAmp = ctx.createGain();
		body.type = 'triangle';
		body.frequency.setValueAtTime(220, at);
		body.frequency.exponentialRampToValueAtTime(140, at + 0.08);
		bodyAmp.gain.setValueAtTime(0.6, at);
		bodyAmp.gain.exponentialRampToValueAtTime(0.001, at + 0.13);
		body.connect(bodyAmp).connect(out);
		body.start(at);
		body.stop(at + 0.15);
		return burst({ ctx, out, at, noise, type: 'highpass', freq: 1400, decay: 0.19 });
	},

	hat: (o) => burst({ ...o, type: 'highpass', freq: 8200, decay: 0.05 }),
	open: (o) => burst({ ...o, type: 'highpass', freq: 7600, decay: o.accent ? 0.55 : 0.34 }),

	clap(o) {
		// Three quick slaps and a tail: the classic trick, roughly in time.
		[0, 0.011, 0.023].forEach((dt) =>
			burst({ ...o, at: o.at + dt, type: 'bandpass', freq: 1150, decay: 0.02, q: 1.8 }));
		return burst({ ...o, at: o.at + 0.031, type: 'bandpass', freq: 1050, decay: 0.16, q: 1.2 });
	},
};

function burst({ ctx, out, at, noise, type, freq, decay, q = 0.7 }) {
	const src = ctx.createBufferSource();
	const filter = ctx.createBiquadFilter();
	const amp = ctx.createGain();
	src.buffer = noise.get(1);
	filter.type = type;
	filter.frequency.value = freq;
	filter.Q.value = q;
	amp.gain.setValueAtTime(1, at);
	amp.gain.exponentialRampToValueAtTime(0.001, at + decay);
	src.connect(filter).connect(amp).connect(out);
	// Start somewhere random in the buffer so that repeated hats don't phase.
	src.start(at, Math.random() * 0.4);
	src.stop(at + decay + 0.02);
	return amp;
}

function bassNote({ ctx, out, at, midi, length, slideFrom, cutoff, resonance }) {
	const freq = 440 * 2 ** ((midi - 69) / 12);
	const osc = new OscillatorNode(ctx, { type: 'sawtooth' });
	const filter = new BiquadFilterNode(ctx, { type: 'lowpass', Q: resonance });
	const amp = new GainNode(ctx, { gain: 0 });
	if (slideFrom != null) {
		osc.frequency.setValueAtTime(440 * 2 ** ((slideFrom - 69) / 12), at);
		osc.frequency.exponentialRampToValueAtTime(freq, at + 0.06);
	} else {
		osc.frequency.setValueAtTime(freq, at);
	}
	filter.frequency.setValueAtTime(cutoff * 4, at);
	filter.frequency.exponentialRampToValueAtTime(cutoff, at + length * 0.8);
	amp.gain.linearRampToValueAtTime(0.5, at + 0.004);
	amp.gain.setValueAtTime(0.5, at + Math.max(0.004, length - 0.03));
	amp.gain.linearRampToValueAtTime(0, at + length);
	osc.connect(filter).connect(amp).connect(out);
	osc.start(at);
	osc.stop(at + length + 0.05);
}

/* ------------------------------------------------------------------ */
/* Pattern: pure data plus a few edits, all undoable                    */
/* ------------------------------------------------------------------ */

export class Pattern extends EventTarget {
	#undo = [];
	#redo = [];

	constructor(kit = DEFAULT_KIT) {
		super();
		this.kit = kit;
		this.tempo = 118;
		this.swing = 0;
		this.scale = 'minor';
		this.root = 33; // A1
		this.drums = Object.fromEntries(kit.map(({ id }) => [id, new Uint8Array(STEPS)]));
		this.bass = Array.from({ length: STEPS }, () => null);
	}

	/** 0 → 1 → 2 (accent) → 0; shift-click goes straight to accent. */
	cycle(id, step, { accent = false } = {}) {
		const row = this.drums[id];
		if (!row) throw new RangeError(`no such instrument: ${id}`);
		const before = row[step];
		const after = accent ? (before === 2 ? 0 : 2) : (before + 1) % 3;
		this.#apply({
			label: `${id} step ${step + 1}`,
			run: () => { row[step] = after; },
			revert: () => { row[step] = before; },
		});
	}

	setBass(step, note) {
		const before = this.bass[step];
		this.#apply({
			label: note ? `bass note at ${step + 1}` : `clear bass at ${step + 1}`,
			run: () => { this.bass[step] = note; },
			revert: () => { this.bass[step] = before; },
		});
	}

	rotate(id, by) {
		const row = this.drums[id];
		const old = row.slice();
		const shift = ((by % STEPS) + STEPS) % STEPS;
		this.#apply({
			label: `rotate ${id}`,
			run: () => row.set(old.map((_, i) => old[(i - shift + STEPS) % STEPS])),
			revert: () => row.set(old),
		});
	}

	/** Spread `hits` as evenly as possible, after Bjorklund. */
	euclid(id, hits) {
		const row = this.drums[id];
		const old = row.slice();
		const n = Math.min(Math.max(0, hits | 0), STEPS);
		this.#apply({
			label: `${n} even hits on ${id}`,
			run: () => {
				let bucket = STEPS - n;
				for (let i = 0; i < STEPS; i++) {
					bucket += n;
					row[i] = bucket >= STEPS ? 1 : 0;
					bucket %= STEPS;
				}
			},
			revert: () => row.set(old),
		});
	}

	undo() {
		const edit = this.#undo.pop();
		if (!edit) return false;
		edit.revert();
		this.#redo.push(edit);
		this.#changed(`undid ${edit.label}`);
		return true;
	}

	redo() {
		const edit = this.#redo.pop();
		if (!edit) return false;
		edit.run();
		this.#undo.push(edit);
		this.#changed(edit.label);
		return true;
	}

	noteAt(step) {
		const cell = this.bass[step];
		if (!cell) return null;
		const scale = SCALES[this.scale];
		const octave = Math.floor(cell.degree / scale.length);
		const index = cell.degree - octave * scale.length;
		return this.root + 12 * octave + scale[index];
	}

	#apply(edit) {
		edit.run();
		this.#undo.push(edit);
		if (this.#undo.length > 200) this.#undo.shift();
		this.#redo.length = 0;
		this.#changed(edit.label);
	}

	#changed(label) {
		this.dispatchEvent(new CustomEvent('change', { detail: { label } }));
	}

	/* A compact text form: version, tempo, swing, scale, root, then one
	   base-3 number per drum row and a comma list for the bass. */
	toString() {
		const rows = this.kit.map(({ id }) => {
			const n = this.drums[id].reduce((acc, v) => acc * 3n + BigInt(v), 0n);
			return n.toString(36);
		});
		const bass = this.bass
			.map((c) => (c ? `${c.degree}${c.slide ? '~' : ''}${c.length > 1 ? `x${c.length}` : ''}` : ''))
			.join(',');
		return [FORMAT_VERSION, this.tempo, this.swing, this.scale, this.root, rows.join('.'), bass].join('/');
	}

	static parse(text) {
		const [version, tempo, swing, scale, root, rows = '', bass = ''] = text.split('/');
		if (Number(version) !== FORMAT_VERSION) {
			throw new SyntaxError(`cannot read pattern version ${version || '(empty)'}`);
		}
		const p = new Pattern();
		p.tempo = clamp(Number(tempo) || 118, 40, 240);
		p.swing = clamp(Number(swing) || 0, 0, 0.6);
		p.scale = scale in SCALES ? scale : 'minor';
		p.root = clamp(Number(root) || 33, 21, 60);
		rows.split('.').forEach((digits, r) => {
			const id = p.kit[r]?.id;
			if (!id) return;
			let n = [...digits].reduce((acc, ch) => acc * 36n + BigInt(parseInt(ch, 36) || 0), 0n);
			for (let i = STEPS - 1; i >= 0; i--) {
				p.drums[id][i] = Number(n % 3n);
				n /= 3n;
			}
		});
		bass.split(',').slice(0, STEPS).forEach((cell, i) => {
			const m = /^(-?\d+)(~?)(?:x(\d+))?$/.exec(cell);
			if (m) p.bass[i] = { degree: +m[1], slide: m[2] === '~', length: +(m[3] ?? 1) };
		});
		return p;
	}
}

const clamp = (x, lo, hi) => Math.min(hi, Math.max(lo, x));

/* ------------------------------------------------------------------ */
/* Transport                                                            */
/* ------------------------------------------------------------------ */

class Transport {
	#timer = null;
	#next = 0;
	#step = 0;

	constructor(ctx, onStep) {
		this.ctx = ctx;
		this.onStep = onStep;
	}

	get running() {
		return this.#timer !== null;
	}

	start(pattern) {
		if (this.running) return;
		this.pattern = pattern;
		this.#step = 0;
		this.#next = this.ctx.currentTime + 0.05;
		this.#timer = setInterval(() => this.#pump(), LOOKAHEAD_MS);
	}

	stop() {
		clearInterval(this.#timer);
		this.#timer = null;
	}

	#pump() {
		const sixteenth = 60 / this.pattern.tempo / 4;
		// After a suspended tab we may be seconds behind. Skip, don't machine-gun.
		if (this.#next < this.ctx.currentTime - 0.25) this.#next = this.ctx.currentTime;
		while (this.#next < this.ctx.currentTime + HORIZON_S) {
			const late = this.#step % 2 ? this.pattern.swing * sixteenth : 0;
			this.onStep(this.#step, this.#next + late, sixteenth);
			this.#next += sixteenth;
			this.#step = (this.#step + 1) % STEPS;
		}
	}
}

/* ------------------------------------------------------------------ */
/* The thing on the page                                                */
/* ------------------------------------------------------------------ */

export class StepBox {
	constructor(root, { pattern = new Pattern() } = {}) {
		this.root = root;
		this.cells = new Map();
		this.chokes = new Map();
		this.setPattern(pattern);
		root.addEventListener('keydown', (e) => this.#onKey(e));
	}

	load(text) {
		if (!text) return;
		try {
			this.setPattern(Pattern.parse(decodeURIComponent(text)));
		} catch (err) {
			console.warn('ignoring shared pattern:', err.message);
		}
	}

	setPattern(pattern) {
		this.pattern = pattern;
		this.#render();
		pattern.addEventListener('change', ({ detail }) => {
			this.#refresh();
			this.status.textContent = detail.label;
			history.replaceState(null, '', `#${encodeURIComponent(pattern)}`);
		});
	}

	async toggle() {
		if (!this.ctx) {
			this.ctx = new AudioContext({ latencyHint: 'interactive' });
			this.noise = new NoisePool(this.ctx);
			this.master = new DynamicsCompressorNode(this.ctx, { threshold: -14, ratio: 5 });
			this.master.connect(this.ctx.destination);
			this.transport = new Transport(this.ctx, (...args) => this.#play(...args));
		}
		await this.ctx.resume();
		if (this.transport.running) this.transport.stop();
		else this.transport.start(this.pattern);
		this.playButton.setAttribute('aria-pressed', String(this.transport.running));
	}

	#play(step, at, sixteenth) {
		for (const { id, gain, choke } of this.pattern.kit) {
			const level = this.pattern.drums[id][step];
			if (!level) continue;
			const out = new GainNode(this.ctx, { gain: gain * (level === 2 ? 1 : 0.68) });
			out.connect(this.master);
			if (choke) this.chokes.get(choke)?.gain.setTargetAtTime(0, at, 0.008);
			const amp = voices[id]({ ctx: this.ctx, out, at, noise: this.noise, accent: level === 2 });
			if (choke) this.chokes.set(choke, amp);
		}
		const midi = this.pattern.noteAt(step);
		if (midi !== null) {
			const cell = this.pattern.bass[step];
			bassNote({
				ctx: this.ctx, out: this.master, at, midi,
				length: sixteenth * (cell.length ?? 1),
				slideFrom: cell.slide ? this.pattern.noteAt((step + STEPS - 1) % STEPS) : null,
				cutoff: 260, resonance: 9,
			});
		}
		const wait = Math.max(0, (at - this.ctx.currentTime) * 1000);
		setTimeout(() => this.root.style.setProperty('--playhead', step), wait);
	}

	#render() {
		this.root.replaceChildren();
		this.cells.clear();
		this.playButton = Object.assign(document.createElement('button'), { textContent: '▶︎ / ■' });
		this.playButton.addEventListener('click', () => this.toggle());
		this.status = document.createElement('output');
		this.root.append(this.playButton, this.status);
		for (const { id, name, colour } of this.pattern.kit) {
			const row = document.createElement('div');
			row.className = 'row';
			row.style.setProperty('--colour', colour);
			row.append(Object.assign(document.createElement('span'), { textContent: name }));
			for (let i = 0; i < STEPS; i++) {
				const cell = document.createElement('button');
				cell.className = i % 4 ? 'cell' : 'cell beat';
				cell.ariaLabel = `${name}, step ${i + 1}`;
				cell.onclick = (e) => this.pattern.cycle(id, i, { accent: e.shiftKey });
				this.cells.set(`${id}:${i}`, cell);
				row.append(cell);
			}
			this.root.append(row);
		}
		this.#refresh();
	}

	#refresh() {
		for (const [key, cell] of this.cells) {
			const [id, i] = key.split(':');
			cell.dataset.level = this.pattern.drums[id][i];
		}
	}

	#onKey(e) {
		if (e.key === ' ') {
			e.preventDefault();
			this.toggle();
		} else if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === 'z') {
			e.preventDefault();
			e.shiftKey ? this.pattern.redo() : this.pattern.undo();
		}
	}
}
