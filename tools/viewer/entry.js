// What the page of an evaluation takes of NiiVue.
import { Niivue, NVImage, SHOW_RENDER } from "@niivue/niivue";

globalThis.niivue = { Niivue, NVImage, SHOW_RENDER };
