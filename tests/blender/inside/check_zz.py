import bpy, host, glob, time, os
from pathlib import Path
def test_e2e(scene, tmp_path):
    D="/tmp/blendera/demo/"
    out=Path("/tmp/blendera/e2e"); 
    import shutil; shutil.rmtree(out, ignore_errors=True); out.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(out/"e2e.blend")); scene=bpy.context.scene
    w=bpy.context.window_manager.mien
    s=scene.mien; s.plate=D+"plate/plate.1001.exr"
    assert host.said(bpy.ops.mien.start_shot, wait=True)=="" ; print(w.state, w.warning)
    print("fit", host.said(bpy.ops.mien.fit_plate, wait=True), s.plate, w.error)
    x=s.sources.add(); x.path="/tmp/blendera/hopper.png"
    s.likeness="Grace Hopper"; s.release="public domain"
    print("id", host.said(bpy.ops.mien.make_identity, wait=True), s.identity)
    print("track", host.said(bpy.ops.mien.track, wait=True), [(f.found,f.first,f.last,f.lost) for f in s.faces])
    print("conv", host.said(bpy.ops.mien.convert_shot, wait=True), w.text, w.state, w.error, w.warning)
    print("match", host.said(bpy.ops.mien.match, wait=True), w.error, w.warning)
    print("check", host.said(bpy.ops.mien.check_shot, wait=True), w.state)
    scene.render.compositor_device="CPU"
    def png(name):
        im=scene.render.image_settings
        if host.VERSION>=(5,0): im.media_type="IMAGE"
        im.file_format="PNG"; im.color_mode="RGB"
        scene.render.filepath=str(out/name); bpy.ops.render.render(write_still=True)
    scene.frame_set(s.first+6); png("finish.png")
    host.socket(host.node_of(scene,"color_match"),"Engine Finish").default_value=0; png("native.png")
    host.socket(host.node_of(scene,"comp"),"Opacity").default_value=0; png("plate.png")
    host.socket(host.node_of(scene,"comp"),"Opacity").default_value=1
    host.socket(host.node_of(scene,"matte"),"Grow").default_value=0.08; png("grow.png")
    bpy.ops.wm.save_mainfile()
    print([i.filepath for i in bpy.data.images], [list(i.default_value) if hasattr(i.default_value,'__len__') else i.default_value for i in host.node_of(scene,"color_match").inputs][2:])
