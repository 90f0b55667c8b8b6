"""Draws a sampled face with OpenGL (EGL, no window) and says where its mesh points are.

Mesa's software rasteriser and TensorFlow cannot live in one process: keep this out of any process
that imports TensorFlow or MediaPipe.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from tfau.core.errors import DatasetError, MissingExtra, require_extra
from tfds_builders.synthetic_faces.creases import CreaseMap
from tfds_builders.synthetic_faces.rig import FaceRig, Floats, Part, SmoothNormals
from tfds_builders.synthetic_faces.sampling import Identity, Shot
from tfds_builders.synthetic_faces.wild import cover_face

Matrix = npt.NDArray[np.float64]

# Where FaceAligner cuts: the outer eye corners are so far apart, in crop sides, and the middle of
# the crop is so far below them, in units of their distance.
_CROP_EYES = 0.46
_CROP_MIDDLE = 0.43

_HEAD_BEHIND_FACE_DM = 0.9
_SHADOW_SIZE = 512
_SHADOW_HALF_DM = 1.7
_LID_SHADE_DM = 0.10
_MOUTH_SHADE_DM = 0.6

_VERTEX = """
#version 330
uniform mat4 u_view, u_projection, u_light;
in vec3 in_position, in_normal;
in float in_open;
in vec2 in_uv;
out vec3 position, normal, in_light;
out vec2 uv;
out float open;
void main() {
    vec4 seen = u_view * vec4(in_position, 1.0);
    position = seen.xyz;
    normal = mat3(u_view) * in_normal;
    in_light = (u_light * seen).xyz * 0.5 + 0.5;
    uv = in_uv;
    open = in_open;
    gl_Position = u_projection * seen;
}
"""

_FRAGMENT = """
#version 330
const int SKIN = 0, SOLID = 1, EYE = 2, HAIR = 3, STRAND = 4, GLASS = 5;
const float BULGE = 2.5;     // as high as so many folds are deep
const vec3 GREY = vec3(0.3, 0.6, 0.1);
uniform int u_material;
uniform vec2 u_alpha;        // texels whose alpha lies outside [x, y) are left out
uniform float u_opacity;
uniform sampler2D u_texture, u_crease;
uniform sampler2DShadow u_shadow;
uniform vec3 u_tint;
uniform float u_mean;        // mean grey of a hair texture, which u_tint replaces
uniform float u_contrast;
uniform float u_oil, u_relief;
uniform vec3 u_key_direction, u_key, u_fill_direction, u_fill, u_sky, u_ground;
in vec3 position, normal, in_light;
in vec2 uv;
in float open;
out vec4 colour;

float lit(vec3 n) {
    // Where light grazes, a texel of the shadow map spans more depth.
    vec3 at = in_light - vec3(0.0, 0.0, mix(0.015, 0.005, abs(dot(n, u_key_direction))));
    float r = 1.3 / float(textureSize(u_shadow, 0).x), q = 0.4 * r;
    vec3 a = vec3(r, q, 0.0), b = vec3(-q, r, 0.0);
    return 0.25 * (texture(u_shadow, at + a) + texture(u_shadow, at - a)
                 + texture(u_shadow, at + b) + texture(u_shadow, at - b));
}

vec3 diffuse(vec3 n, vec3 direction, vec3 wrap) {
    return max(vec3(0.0), (dot(n, direction) + wrap) / (1.0 + wrap));
}

float glint(vec3 n, vec3 v, vec3 direction, float power) {
    return pow(max(dot(n, normalize(direction + v)), 0.0), power);
}

void main() {
    vec4 texel = texture(u_texture, uv);
    if (texel.a < u_alpha.x || texel.a >= u_alpha.y) discard;
    bool opaque = u_material == SKIN || u_material == SOLID || u_alpha.x > 0.0;
    float alpha = opaque ? 1.0 : texel.a * u_opacity;
    vec3 albedo = pow(texel.rgb, vec3(2.2));
    vec3 n = normalize(normal), v = normalize(-position);
    vec3 wrap = vec3(0.1);
    float gloss = 0.25, power = 50.0;

    if (u_material == SKIN) {
        vec2 crease = texture(u_crease, uv).rg;
        float height = crease.r - BULGE * crease.g;
        // Bump from screen-space derivatives: no tangents needed (Mikkelsen 2010).
        vec3 px = dFdx(position), py = dFdy(position);
        vec3 gx = cross(py, n), gy = cross(n, px);
        float area = dot(px, gx);
        vec3 slope = sign(area) * (dFdx(height) * gx + dFdy(height) * gy);
        n = normalize(abs(area) * n + u_relief * slope);
        albedo *= u_tint * (1.0 - vec3(0.42, 0.55, 0.58) * crease.r)
                         * (1.0 - vec3(0.0, 0.16, 0.16) * crease.g);
        // Red light travels furthest under skin and softens the edge of the shade.
        wrap = vec3(0.40, 0.20, 0.14);
        gloss = u_oil;
        power = 22.0;
    } else if (u_material == HAIR || u_material == STRAND) {
        if (u_material == HAIR && !gl_FrontFacing) n = -n;
        albedo = u_tint * clamp(pow(dot(albedo, GREY) / u_mean, u_contrast), 0.1, 2.6);
        wrap = vec3(0.35);
        gloss = u_material == HAIR ? 0.05 : 0.0;
        power = 12.0;
    } else if (u_material == EYE) {
        // The painted irises are more colourful than any eye.
        albedo = u_tint * mix(vec3(dot(albedo, GREY)), albedo, 0.6);
        gloss = 0.9;
        power = 180.0;
    } else if (u_material == GLASS) {
        albedo = u_tint;
        n = n.z < 0.0 ? -n : n;
        gloss = 1.2;
        power = 90.0;
        opaque = false;
        alpha = u_opacity;
    } else {
        albedo *= u_tint;
    }

    vec3 key = u_key * lit(normalize(normal));
    vec3 light = key * diffuse(n, u_key_direction, wrap)
               + u_fill * diffuse(n, u_fill_direction, wrap)
               + mix(u_ground, u_sky, 0.5 + 0.5 * n.y);
    float shine = gloss * (0.35 + pow(1.0 - max(dot(n, v), 0.0), 4.0));
    vec3 highlight = shine * (key * glint(n, v, u_key_direction, power)
                            + u_fill * glint(n, v, u_fill_direction, power));
    if ((u_material == EYE || u_material == GLASS) && !opaque) {
        alpha = min(1.0, alpha + max(highlight.r, max(highlight.g, highlight.b)));
    }
    vec3 sum = open * (albedo * light + highlight);
    colour = vec4(pow(1.0 - exp(-1.25 * sum), vec3(1.0 / 2.2)), alpha);
}
"""

_SHADOW_VERTEX = """
#version 330
uniform mat4 u_view, u_light;
in vec3 in_position;
in vec2 in_uv;
out vec2 uv;
void main() {
    uv = in_uv;
    gl_Position = u_light * (u_view * vec4(in_position, 1.0));
}
"""

_SHADOW_FRAGMENT = """
#version 330
uniform sampler2D u_texture;
uniform float u_cut;
in vec2 uv;
void main() {
    if (u_cut > 0.0 && texture(u_texture, uv).a < u_cut) discard;
}
"""

_BACKDROP_VERTEX = """
#version 330
in vec2 in_corner;
out vec2 uv;
void main() {
    uv = in_corner * 0.5 + 0.5;
    gl_Position = vec4(in_corner, 0.0, 1.0);
}
"""

_BACKDROP_FRAGMENT = """
#version 330
uniform sampler2D u_texture;
in vec2 uv;
out vec4 colour;
void main() {
    colour = vec4(texture(u_texture, uv).rgb, 1.0);
}
"""

_MATERIALS = {"skin": 0, "teeth": 1, "tongue": 1, "eyes": 2, "hair": 3, "brows": 4, "lashes": 4}
_MATERIALS |= {"frame": 1, "lens": 5}
_SOLID, _SOFT, _ALL = (0.6, 2.0), (0.0, 0.6), (0.0, 2.0)


@dataclass(frozen=True)
class Picture:
    """Holds one drawn face.

    Attributes:
        image: (S, S, 3) uint8 RGB frame.
        mesh: (478, 3) float32 in frame px, pixel centres at whole numbers: x right, y down, z in
            the same scale, 0 at the depth of the face, smaller towards the camera.
        opening: height of the gap between the inner lips, beyond that at rest, over the
            distance of the outer eye corners.
    """

    image: npt.NDArray[np.uint8]
    mesh: npt.NDArray[np.float32]
    opening: float


class _Surface:
    """Keeps the buffers of one mesh on the GL side; its corners are unique (vertex, uv) pairs."""

    def __init__(
        self, gl: Any, programs: tuple[Any, Any], triangles: Any, uv: Any, uv_triangles: Any
    ) -> None:
        pairs, numbers = np.unique(
            np.stack([triangles.ravel(), uv_triangles.ravel()], axis=1), axis=0, return_inverse=True
        )
        self.vertex = pairs[:, 0]
        self.uv = uv[pairs[:, 1]].astype(np.float32)
        main, shadow = programs
        self.moving = gl.buffer(reserve=len(pairs) * 7 * 4, dynamic=True)
        self.fixed = gl.buffer(self.uv.tobytes())
        self.numbers = gl.buffer(numbers.astype("i4").tobytes())
        self.main = gl.vertex_array(
            main,
            [
                (self.moving, "3f 3f 1f", "in_position", "in_normal", "in_open"),
                (self.fixed, "2f", "in_uv"),
            ],
            index_buffer=self.numbers,
        )
        self.shadow = gl.vertex_array(
            shadow,
            [(self.moving, "3f 16x", "in_position"), (self.fixed, "2f", "in_uv")],
            index_buffer=self.numbers,
        )

    def write(self, vertices: Floats, normals: Floats, light: Floats) -> None:
        data = np.concatenate([vertices, normals, light[:, None]], axis=1)[self.vertex]
        self.moving.write(np.ascontiguousarray(data, np.float32))


@dataclass(frozen=True)
class _Rigid:
    """A thing that a person wears and that no expression moves; stands in for a `Part`."""

    name: str
    kind: str
    vertices: Floats
    triangles: Any
    carried: bool = False

    @property
    def reference(self) -> Floats:
        return self.vertices

    @property
    def uv(self) -> Floats:
        return np.full((1, 2), 0.5, np.float32)

    @property
    def uv_triangles(self) -> Any:
        return np.zeros_like(self.triangles)

    def fit(self, _vertices: Floats, _resting: Floats) -> Floats:
        return self.vertices


class FaceRenderer:
    """Draws faces of one rig, one identity at a time.

    Args:
        rig: the head.
        frame_size: side of the square frame, px.
        samples: of each pixel; 0 is twice as fast and leaves edges as stairs, which a crop of half
            the size hides.
        bulges: whether the skin bulges and dimples with the units, see `creases`.

    Raises:
        MissingExtra: moderngl is not installed, or there is no EGL to draw with.
    """

    def __init__(
        self, rig: FaceRig, frame_size: int = 320, *, samples: int = 4, bulges: bool = False
    ) -> None:
        require_extra("synthetic", "moderngl")
        # One rasteriser thread: the processes of `shards` are what fills the cores.
        os.environ.setdefault("LP_NUM_THREADS", "1")
        import moderngl

        self.rig = rig
        self.frame_size = frame_size
        try:
            self.gl = moderngl.create_context(standalone=True, backend="egl")
        except Exception as error:
            raise MissingExtra(
                "Rendering needs EGL with OpenGL 3.3 (Debian: libegl1 libgl1-mesa-dri). "
                f"Received: {error}"
            ) from error
        gl = self.gl
        self.program = gl.program(vertex_shader=_VERTEX, fragment_shader=_FRAGMENT)
        self.shadow_program = gl.program(
            vertex_shader=_SHADOW_VERTEX, fragment_shader=_SHADOW_FRAGMENT
        )
        backdrop = gl.program(vertex_shader=_BACKDROP_VERTEX, fragment_shader=_BACKDROP_FRAGMENT)
        corners = np.array([-1, -1, 3, -1, -1, 3], np.float32)
        self.backdrop = gl.vertex_array(
            backdrop, [(gl.buffer(corners.tobytes()), "2f", "in_corner")]
        )
        size = (frame_size, frame_size)
        self.drawn = gl.framebuffer(
            [gl.renderbuffer(size, 4, samples=samples)],
            gl.depth_renderbuffer(size, samples=samples),
        )
        self.resolved = gl.framebuffer([gl.renderbuffer(size, 4)])
        self.shadow = gl.depth_texture((_SHADOW_SIZE, _SHADOW_SIZE))
        self.shadow.compare_func = "<="
        self.shadow_frame = gl.framebuffer(depth_attachment=self.shadow)
        self.crease_map = CreaseMap(rig, bulges=bulges)
        side = self.crease_map.size
        self.crease = gl.texture((side, side), 2, alignment=1)
        self.surfaces = {"skin": self._surface(rig)}
        self.textures: dict[str, Any] = {"": self._upload(np.full((1, 1, 4), 255, np.uint8))}
        self.means: dict[str, float] = {}
        self.mouth_inside = self._painted_in("mouth_inside")
        self.sockets = self._painted_in("eye_sockets")

    def __enter__(self) -> FaceRenderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.gl.release()

    def _surface(self, mesh: FaceRig | Part | _Rigid) -> _Surface:
        programs = (self.program, self.shadow_program)
        return _Surface(self.gl, programs, mesh.triangles, mesh.uv, mesh.uv_triangles)

    def _painted_in(self, box: str) -> npt.NDArray[np.intp]:
        """Lists the skin vertices that have their colour from a part of the atlas."""
        left, top, right, bottom = self.rig.atlas_boxes[box]
        u, v = self.surfaces["skin"].uv.T
        inside = (u > left) & (u < right) & (1 - v > top) & (1 - v < bottom)
        return np.unique(self.surfaces["skin"].vertex[inside])

    def _texture(self, name: str) -> Any:
        if name not in self.textures:
            pixels = _read_rgba(self.rig, name)
            self.textures[name] = self._upload(pixels)
            alpha = pixels[..., 3] / 255.0
            grey = ((pixels[..., :3] / 255.0) ** 2.2) @ (0.3, 0.6, 0.1)
            self.means[name] = max(float((grey * alpha).sum() / max(alpha.sum(), 1)), 0.004)
        return self.textures[name]

    def _upload(self, pixels: npt.NDArray[np.uint8]) -> Any:
        texture = self.gl.texture(pixels.shape[1::-1], pixels.shape[2], alignment=1)
        texture.write(np.ascontiguousarray(pixels[::-1]))
        texture.build_mipmaps()
        return texture

    def wear(self, identity: Identity) -> None:
        """Takes over a person: shape, skin and parts."""
        rig = self.rig
        self.identity = identity
        self.resting = rig.rest(identity.shape)
        self.parts: list[Part | _Rigid] = [rig.parts[name] for name in identity.parts]
        if identity.glasses:
            for kind, (points, triangles) in zip(
                ("frame", "lens"), identity.glasses.build(self.resting, rig), strict=True
            ):
                self.parts.append(_Rigid(kind, kind, points, triangles))
        for part in self.parts:
            if part.name not in self.surfaces:
                self.surfaces[part.name] = self._surface(part)
        pixels = np.zeros(4, np.float32)
        for name, share in identity.skins.items():
            pixels = pixels + np.float32(share) * _read_rgba(rig, name)
        if identity.beard:
            side = len(pixels)
            identity.beard.paint(pixels, self.crease_map.points * side / self.crease_map.size)
        if "skin" in self.textures:
            self.textures["skin"].release()
        self.textures["skin"] = self._upload(pixels.astype(np.uint8))

        sizes = [len(rig.vertices), *(len(part.reference) for part in self.parts)]
        starts = np.cumsum([0, *sizes]).tolist()
        meshes = [rig.triangles, *(part.triangles for part in self.parts)]
        moved = [mesh + start for mesh, start in zip(meshes, starts, strict=False)]
        self.normals = SmoothNormals(np.concatenate(moved).astype(np.int32), starts[-1])
        names = ["skin", *(part.name for part in self.parts)]
        rows = (slice(*ends) for ends in itertools.pairwise(starts))
        self.slices = dict(zip(names, rows, strict=True))
        eyes = self._part("eyes").fit(self.resting, self.resting)
        self.resting_opening = self._opening(rig.mesh(self.resting, eyes))

    def _part(self, kind: str) -> Part | _Rigid:
        return next(part for part in self.parts if part.kind == kind)

    @staticmethod
    def _opening(mesh: Floats) -> float:
        return float((mesh[13, 1] - mesh[14, 1]) / np.linalg.norm(mesh[33] - mesh[263]))

    def render(self, shot: Shot) -> Picture:
        """Draws the worn identity.

        Args:
            shot: expression, gaze, pose, camera, light and background.
        """
        rig = self.rig
        vertices = rig.express(self.resting, shot.weights)
        fitted = {part.name: part.fit(vertices, self.resting) for part in self.parts}
        mesh = rig.mesh(vertices, fitted["eyes"])
        everything = np.concatenate([vertices, *fitted.values()])
        normals = self.normals(everything)
        light = self._openness(everything, mesh)
        for name, rows in self.slices.items():
            self.surfaces[name].write(everything[rows], normals[rows], light[rows])

        view, focal = self._camera(shot)
        self._draw(shot, view, focal)
        seen = mesh @ view[:3, :3].T + view[:3, 3]
        scale = focal / -seen[:, 2:]
        centre = (self.frame_size - 1) / 2
        points = np.concatenate(
            [
                centre + seen[:, :1] * scale,
                centre - seen[:, 1:2] * scale,
                -(seen[:, 2:] + shot.distance_dm) * focal / shot.distance_dm,
            ],
            axis=1,
        )
        pixels = np.frombuffer(self.resolved.read(components=3, alignment=1), np.uint8)
        pixels = pixels.reshape(self.frame_size, self.frame_size, 3)[::-1]
        image = np.ascontiguousarray(pixels)
        if shot.cover:
            hair = self.identity.tints["hair"]
            image = cover_face(image, points, shot.cover, shot.cover_seed, hair)
        return Picture(
            image=shot.develop(image),
            mesh=points.astype(np.float32),
            opening=max(0.0, self._opening(mesh) - self.resting_opening),
        )

    def _openness(self, vertices: Floats, mesh: Floats) -> Floats:
        """Says how much light reaches each vertex: less inside the mouth and under the lids."""
        light = np.ones(len(vertices), np.float32)
        lips = mesh[[13, 14]].mean(axis=0)

        def inside(points: Floats) -> Floats:
            depth = (lips[2] - 0.08 - points[:, 2]) / _MOUTH_SHADE_DM
            return np.asarray(np.clip(1.0 - depth, 0.08, 1.0) ** 1.5, np.float32)

        light[self.mouth_inside] = inside(vertices[self.mouth_inside])
        light[self.sockets] = 0.45
        for part in self.parts:
            rows = self.slices[part.name]
            if part.carried:
                light[rows] = inside(vertices[rows])
            elif part.kind == "eyes":
                eyes = vertices[rows]
                lid = np.where(eyes[:, 0] > 0, mesh[386, 1], mesh[159, 1])
                below = np.clip((lid - eyes[:, 1]) / _LID_SHADE_DM, 0, 1)
                light[rows] = 0.45 + 0.5 * np.sqrt(below)
        return light

    def _camera(self, shot: Shot) -> tuple[Matrix, float]:
        """Returns the (4, 4) view matrix and the focal length in px."""
        yaw, pitch, roll = np.radians([shot.yaw, shot.pitch, shot.roll])
        turn = _rotation(2, roll) @ _rotation(0, pitch) @ _rotation(1, yaw)
        eyes = self.resting[self.rig.mesh_index[[33, 263]]]
        width = float(np.linalg.norm(eyes[0] - eyes[1]))
        middle = eyes.mean(axis=0) - (0, _CROP_MIDDLE * width, 0)
        crop_dm = width / _CROP_EYES
        view = np.eye(4)
        view[:3, :3] = turn
        view[:3, 3] = (*(crop_dm * np.array(shot.shift)), -shot.distance_dm) - turn @ middle
        return view, shot.fill * self.frame_size * shot.distance_dm / crop_dm

    def _draw(self, shot: Shot, view: Matrix, focal: float) -> None:
        import moderngl

        gl, identity, program = self.gl, self.identity, self.program
        near, far = max(0.5, shot.distance_dm - 2.5), shot.distance_dm + 4.0
        projection = np.zeros((4, 4))
        projection[0, 0] = projection[1, 1] = 2 * focal / self.frame_size
        projection[2, 2] = -(far + near) / (far - near)
        projection[2, 3] = -2 * far * near / (far - near)
        projection[3, 2] = -1
        key = _unit(shot.key_direction)
        light = np.eye(4)
        side = _unit(np.cross((0.0, 1.0, 0.1), key))
        light[:3, :3] = np.stack([side, np.cross(key, side), -key]) / _SHADOW_HALF_DM
        light[2, :3] /= 2
        light[:3, 3] = -light[:3, :3] @ (0, 0, -shot.distance_dm - _HEAD_BEHIND_FACE_DM)

        for target in (program, self.shadow_program):
            target["u_view"].write(view.T.astype("f4").tobytes())
            target["u_light"].write(light.T.astype("f4").tobytes())
        program["u_projection"].write(projection.T.astype("f4").tobytes())
        program["u_key_direction"].value = tuple(key)
        program["u_fill_direction"].value = tuple(_unit(shot.fill_direction))
        program["u_key"].value = shot.key
        program["u_fill"].value = shot.fill_light
        program["u_sky"].value = shot.sky
        program["u_ground"].value = shot.ground
        program["u_oil"].value = identity.oil
        program["u_relief"].value = identity.relief
        program["u_texture"].value = 0
        program["u_crease"].value = 1
        program["u_shadow"].value = 2
        self.crease.write(
            self.crease_map.draw(shot.intensities, identity.crease_depth, identity.crease_variant)
        )

        gl.enable(moderngl.DEPTH_TEST)
        gl.disable(moderngl.BLEND)
        self.shadow_frame.use()
        self.shadow_frame.clear(depth=1.0)
        hair = next((p for p in self.parts if isinstance(p, Part) and p.kind == "hair"), None)
        self.shadow_program["u_cut"].value = 0.0
        gl.enable(moderngl.CULL_FACE)
        self.surfaces["skin"].shadow.render()
        gl.disable(moderngl.CULL_FACE)
        if identity.glasses:
            self.surfaces["frame"].shadow.render()
        if hair is not None:
            self._texture(identity.texture(hair)).use(0)
            self.shadow_program["u_cut"].value = 0.6
            self.surfaces[hair.name].shadow.render()

        self.drawn.use()
        self.drawn.clear(0.0, 0.0, 0.0, 1.0, depth=1.0)
        backdrop = self._upload(shot.backdrop)
        backdrop.use(0)
        gl.disable(moderngl.DEPTH_TEST)
        self.backdrop.render()
        gl.enable(moderngl.DEPTH_TEST)
        self.crease.use(1)
        self.shadow.use(2)
        # The software rasteriser shades hidden back faces at full price.
        gl.enable(moderngl.CULL_FACE)
        self._paint("skin", None, _ALL)
        for kind in ("teeth", "tongue"):
            self._paint(kind, self._part(kind), _ALL)
        self._paint("eyes", self._part("eyes"), _SOLID)
        if identity.glasses:
            self._paint("frame", self._part("frame"), _ALL)
        gl.disable(moderngl.CULL_FACE)
        if hair is not None:
            self._paint("hair", hair, _SOLID)
        gl.enable(moderngl.BLEND)
        gl.blend_func = moderngl.SRC_ALPHA, moderngl.ONE_MINUS_SRC_ALPHA
        self.drawn.depth_mask = False
        self._paint("eyes", self._part("eyes"), _SOFT)
        for kind in ("brows", "lashes"):
            self._paint(kind, self._part(kind), _ALL)
        if identity.glasses:
            self._paint("lens", self._part("lens"), _ALL)
        if hair is not None:
            self._paint("hair", hair, _SOFT)
        self.drawn.depth_mask = True
        gl.disable(moderngl.BLEND)
        backdrop.release()
        gl.copy_framebuffer(self.resolved, self.drawn)

    def _paint(self, kind: str, part: Part | _Rigid | None, alpha: tuple[float, float]) -> None:
        identity = self.identity
        name = "skin" if part is None else ""
        if isinstance(part, Part):
            name = identity.texture(part)
            self._texture(name)
        self.textures[name].use(0)
        program = self.program
        program["u_material"].value = _MATERIALS[kind]
        program["u_alpha"].value = alpha
        glasses = identity.glasses
        if glasses and kind in ("frame", "lens"):
            program["u_tint"].value = glasses.colour if kind == "frame" else glasses.lens
        else:
            program["u_tint"].value = identity.tints[kind]
        program["u_mean"].value = self.means.get(name, 1.0)
        opacity = {"lashes": identity.lash_opacity, "lens": glasses.opacity if glasses else 0.0}
        program["u_opacity"].value = opacity.get(kind, 1.0)
        program["u_contrast"].value = 0.6 if kind == "hair" else 0.3
        self.surfaces["skin" if part is None else part.name].main.render()


def _read_rgba(rig: FaceRig, name: str) -> npt.NDArray[np.uint8]:
    pixels = cv2.imread(str(rig.folder / name), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3:
        raise DatasetError(f"`rig` must hold undamaged textures. Received: {rig.folder / name}")
    code = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGBA
    return np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def _unit(vector: npt.ArrayLike) -> Matrix:
    vector = np.asarray(vector, np.float64)
    return np.asarray(vector / np.linalg.norm(vector))


def _rotation(axis: int, angle: float) -> npt.NDArray[np.float64]:
    """Turns by the right-hand rule about x, y or z (0, 1, 2)."""
    matrix = np.eye(3)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[b, a] = np.sin(angle)
    matrix[a, b] = -np.sin(angle)
    return matrix
