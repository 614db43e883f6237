"""Small scripts that tests break and evaluate; they follow the file format, not any tool."""

LOOK = r"""Group {
 name Look1
 addUserKnob {20 look_tab l Look}
 addUserKnob {6 on l "color match" t "What the engine solved." +STARTLINE}
 on true
 addUserKnob {7 amount R 0 1}
 amount 0.75
 addUserKnob {18 gain}
 gain {{curve L x1001 1.5 x1003 1.25} 0.5 {curve K x1001 1 x1002 2}}
 addUserKnob {4 source M {hull network "both of them"}}
 source network
 addUserKnob {7 grow l "grow, px" R -20 20}
 addUserKnob {41 matrix l "color matrix" T Matrix.matrix}
 addUserKnob {26 said l "" T "\[expr \{\[exists this.input1] ? 1 : 0\}]"}
 addUserKnob {22 again l Again t "Once more." T "import os\nprint(os.sep)" +STARTLINE}
}
 Input {
  inputs 0
  name holdout
  number 2
 }
 Input {
  inputs 0
  name face
  number 1
 }
set Nface [stack 0]
add_layer {matte matte.hull matte.network}
add_layer {raw raw.red raw.green raw.blue}
 Expression {
  expr3 "parent.source == 0 ? matte.hull : parent.source == 1 ? matte.network : max(matte.hull, matte.network)"
  name Pick
 }
 Dilate {
  channels alpha
  size {{parent.grow}}
  name Grow
  disable {{"parent.grow == 0"}}
 }
 ChannelMerge {
  inputs 2
  A alpha
  B alpha
  operation multiply
  output alpha
  name Holdout
  disable {{"!\[exists parent.input2]"}}
 }
push $Nface
 Shuffle2 {
  fromInput1 {{0} B}
  in1 raw
  fromInput2 {{0} B}
  in2 rgba
  mappings "4 raw.red 0 0 rgba.red 0 0 raw.green 0 1 rgba.green 0 1 raw.blue 0 2 rgba.blue 0 2 rgba.alpha 1 3 rgba.alpha 0 3"
  name Raw
 }
 ColorMatrix {
  matrix {
      {0.9 0.1 0}
      {0 {curve x1001 1 x1003 1.5} 0}
      {-0.2 0 1.1}
    }
  mix {{parent.amount}}
  name Matrix
  disable {{!parent.on}}
 }
 Grade {
  channels rgb
  white {{parent.gain.r} {parent.gain.g} {parent.gain.b} 1}
  black {0.01 -0.02 0.03 0}
  black_clamp false
  mix {{parent.amount}}
  name Gain
  disable {{!parent.on}}
 }
 Input {
  inputs 0
  name plate
 }
 Keymix {
  inputs 3
  channels rgb
  maskChannel alpha
  bbox B
  name Mix
 }
 Output {
  name Output1
 }
end_group
"""  # noqa: E501
"""A group of three inputs with what such groups hold: links, curves, expressions, menus, a button."""
