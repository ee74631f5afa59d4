"""Which widget models the front end's own code draws, and of what form each attribute is.

Read from ipywidgets 7 and 8: these alone bring no code of their own. An attribute has one form in
all models, but for those in ``FORMS_OF``. What a form may hold is in ``attributes.py``.
"""

from __future__ import annotations

__all__ = ["BASE", "CONTROLS", "MODULES", "OUTPUT", "form_of", "view_of"]

BASE, CONTROLS = "@jupyter-widgets/base", "@jupyter-widgets/controls"
OUTPUT = "@jupyter-widgets/output"

MODULES: dict[str, frozenset[str]] = {
    BASE: frozenset({"Layout"}),
    OUTPUT: frozenset({"Output"}),
    CONTROLS: frozenset(
        {"Accordion", "Box", "GridBox", "HBox", "Stack", "Tab", "VBox"}
        | {"Button", "Checkbox", "ToggleButton", "Valid", "FileUpload", "Play"}
        | {"HTML", "HTMLMath", "Label", "Text", "Textarea", "Password", "Combobox"}
        | {"BoundedFloatText", "FloatLogSlider", "FloatProgress", "FloatRangeSlider"}
        | {"FloatSlider", "FloatText"}
        | {"BoundedIntText", "IntProgress", "IntRangeSlider", "IntSlider", "IntText"}
        | {"Dropdown", "RadioButtons", "Select", "SelectMultiple", "SelectionRangeSlider"}
        | {"SelectionSlider", "ToggleButtons"}
        | {"ColorPicker", "DatePicker", "Datetime", "NaiveDatetime", "Time"}
        | {"ColorsInput", "FloatsInput", "IntsInput", "TagsInput"}
        | {"Audio", "Image", "Video", "Controller", "ControllerAxis", "ControllerButton"}
        | {"Link", "DirectionalLink"}
        | {"ButtonStyle", "CheckboxStyle", "DescriptionStyle", "HTMLMathStyle", "HTMLStyle"}
        | {"LabelStyle", "ProgressStyle", "SliderStyle", "TextStyle", "ToggleButtonStyle"}
        | {"ToggleButtonsStyle"}
    ),
}
"""Names of models, without the ``Model`` at their ends."""

VIEWS: dict[str, str | None] = {
    "BoundedFloatText": "FloatTextView",
    "BoundedIntText": "IntTextView",
    "FloatProgress": "ProgressView",
    "IntProgress": "ProgressView",
    "NaiveDatetime": "DatetimeView",
    "Link": None,
    "DirectionalLink": None,
}
"""Those that are not called as their model is."""


def view_of(name: str) -> str | None:
    """The one view that draws a model: another's may take a text of it for HTML."""
    if name.endswith("Style"):
        return "StyleView"
    return VIEWS.get(name, f"{name}View")


FORMS: dict[str, frozenset[str]] = {
    "bool": frozenset(
        {"allow_duplicates", "autoplay", "concise", "connected", "continuous_update", "controls"}
        | {"disabled", "ensure_option", "indent", "loop", "multiple", "playing", "pressed"}
        | {"readout", "repeat", "show_repeat", "tabbable", "_playing", "_repeat"}
    ),
    "number": frozenset(
        {"_view_count", "base", "index", "interval", "max", "min", "rows", "selected_index"}
        | {"timestamp", "_counter"}
    ),
    "step": frozenset({"step"}),
    "text": frozenset(
        {"accept", "error", "mapping", "msg_id", "name", "placeholder"}
        | {"tooltip", "description_tooltip"}
    ),
    "texts": frozenset({"_options_labels", "options", "titles", "tooltips"}),
    "tags": frozenset({"allowed_tags"}),
    "numbered": frozenset({"_titles"}),
    "word": frozenset(
        {"bar_style", "behavior", "box_style", "button_style", "orientation", "tag_style"}
    ),
    "icon": frozenset({"icon"}),
    "icons": frozenset({"icons"}),
    "classes": frozenset({"_dom_classes"}),
    "description": frozenset({"description"}),
    "flag": frozenset({"description_allow_html"}),
    "css": frozenset(
        {"align_content", "align_items", "align_self", "background", "bar_color", "border"}
        | {"border_bottom", "border_left", "border_right", "border_top", "button_color"}
        | {"button_width", "description_width", "display", "flex", "flex_flow", "font_family"}
        | {"font_size", "font_style", "font_variant", "font_weight", "grid_area"}
        | {"grid_auto_columns", "grid_auto_flow", "grid_auto_rows", "grid_column", "grid_gap"}
        | {"grid_row", "grid_template_areas", "grid_template_columns", "grid_template_rows"}
        | {"handle_color", "height", "justify_content", "justify_items", "max_height"}
        | {"max_width", "min_height", "min_width", "object_fit", "object_position", "order"}
        | {"overflow", "overflow_x", "overflow_y", "padding", "text_color", "text_decoration"}
        | {"visibility", "width"}
    ),
    "place": frozenset({"bottom", "left", "margin", "right", "top"}),
    "model": frozenset({"layout", "style"}),
    "models": frozenset({"axes", "buttons", "children"}),
    "end": frozenset({"source", "target"}),
    "outputs": frozenset({"outputs"}),
    "digits": frozenset({"readout_format"}),
    "buffers": frozenset({"data"}),
    "files": frozenset({"metadata"}),
}

_OF_MODELS: tuple[tuple[str, dict[str, str]], ...] = (
    ("Checkbox ToggleButton", {"value": "bool"}),
    ("Valid", {"value": "bool", "readout": "text"}),
    ("BoundedFloatText FloatLogSlider FloatProgress FloatSlider FloatText", {"value": "number"}),
    ("BoundedIntText IntProgress IntSlider IntText Play", {"value": "number"}),
    ("ControllerAxis ControllerButton", {"value": "number"}),
    ("FloatRangeSlider IntRangeSlider", {"value": "numbers"}),
    ("SelectMultiple SelectionRangeSlider", {"index": "numbers"}),
    ("FloatsInput IntsInput", {"value": "numbers", "format": "digits"}),
    ("Combobox Password Text Textarea", {"value": "text"}),
    ("HTML HTMLMath", {"value": "html"}),
    ("Label", {"value": "tex"}),
    ("TagsInput", {"value": "texts"}),
    ("ColorsInput", {"value": "colors"}),
    ("ColorPicker", {"value": "css"}),
    ("DatePicker Datetime NaiveDatetime Time", {"value": "date", "min": "date", "max": "date"}),
    ("Audio Image Video", {"value": "bytes", "format": "media"}),
    ("Image Video", {"width": "size", "height": "size"}),
    ("FileUpload", {"value": "files"}),
)

FORMS_OF: dict[tuple[str, str], str] = {
    (model, attribute): form
    for models, forms in _OF_MODELS
    for model in models.split()
    for attribute, form in forms.items()
}
_FORM_BY_NAME = {name: form for form, names in FORMS.items() for name in names}


def form_of(model: str, attribute: str) -> str | None:
    """None for an attribute that no such model has."""
    return FORMS_OF.get((model, attribute)) or _FORM_BY_NAME.get(attribute)
