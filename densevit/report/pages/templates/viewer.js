"use strict";
// Three planes of a volume that go through every slice: NiiVue, once it is asked for.
for (const scene of document.querySelectorAll("[data-scene]")) {
  const said = scene.querySelector("[data-said]");
  const list = scene.querySelector("select");
  const canvas = scene.querySelector("canvas");
  const tables = JSON.parse(scene.dataset.colors);
  const boxes = [...document.querySelectorAll("input[data-layer]")];
  const slider = document.querySelector("input[data-alpha]");
  const masks = {};
  let viewer = null;

  // Which masks are seen, how faint, and of which classes. Each call of NiiVue draws anew, so there are few.
  const paint = () => {
    const mask = masks[list.value];
    const { of, ...table } = tables[list.value];
    const shown = boxes.filter((box) => box.checked).map((box) => box.dataset.layer);
    const A = table.A.map((alpha, k) => (of[k].some((name) => shown.includes(name)) ? alpha : 0));
    mask.setColormapLabel({ ...table, A, I: A.map((_, k) => k), labels: of.map((names) => names.join(", ")) });
    mask.opacity = Number(slider.value);
    if (viewer.volumes[1] === mask) {
      viewer.updateGLVolume();
      return;
    }
    if (viewer.volumes.length > 1) viewer.removeVolume(viewer.volumes[1]);
    viewer.addVolume(mask);
  };

  scene.querySelector("[data-open]").addEventListener("click", async (event) => {
    event.target.disabled = true;
    if (!document.createElement("canvas").getContext("webgl2")) {
      said.textContent = "this browser has no WebGL 2, which it needs; the slices below do without";
      return;
    }
    canvas.parentNode.classList.remove("off");  // NiiVue paints it black, and fills it
    list.parentNode.classList.remove("off");
    viewer = new niivue.Niivue({
      show3Dcrosshair: false, isRadiologicalConvention: true, sagittalNoseLeft: true, dragAndDropEnabled: false,
      multiplanarShowRender: niivue.SHOW_RENDER.NEVER, crosshairColor: [1, 0.85, 0.4, 1], loadingText: "",
      crosshairWidth: 0.4, crosshairWidthUnit: "percent", logLevel: "error",
    });
    await viewer.attachToCanvas(canvas);
    const read = (what) => {
      const base64 = scene.querySelector(`[data-file="${what}"]`).textContent;
      return niivue.NVImage.loadFromBase64({ base64, name: `${what}.nii.gz` });
    };
    for (const what of Object.keys(tables)) masks[what] = await read(what);
    viewer.addVolume(await read("image"));
    viewer.scene.crosshairPos = viewer.vox2frac(JSON.parse(scene.dataset.place));
    paint();
    for (const control of [list, slider, ...boxes]) control.addEventListener("change", paint);
    scene.viewer = viewer;
    said.textContent = "a click moves all three planes, the wheel goes through the slices";
  });
}
