"""Stacks: what the header says, which planes become a picture, and in which colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from stacks import CHANNELS, STACK, imagej_stack, ome_stack

from ragvlm.errors import ImageError
from ragvlm.images import image_info, open_image
from ragvlm.microscopy import Channel, View, read_info
from ragvlm.microscopy.colours import BLUE, GREEN, GREY, MAGENTA, RED, channel_colours
from ragvlm.microscopy.metadata import parse_ome
from ragvlm.microscopy.stack import choose
from ragvlm.pixels import array_to_rgb, scale_to_uint8


@pytest.fixture(params=["ome", "imagej"])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return ome_stack(tmp_path / "s.ome.tif") if request.param == "ome" else imagej_stack(tmp_path / "s.tif")


def test_the_header_gives_channels_and_pixel_sizes(stack: Path) -> None:
    found = read_info(stack)
    assert found is not None
    info, planes = found
    assert planes == 30
    assert info.to_extra() == {
        "channels": list(CHANNELS),
        "pixel_size_um": [0.325, 0.325],
        "slice_spacing_um": 1.5,
    }


@pytest.mark.parametrize(
    ("place", "plane"),
    [
        ("channel=GFP", STACK[0, :, 1].max(axis=0)),
        ("channel=1&projection=mean", STACK[0, :, 1].mean(axis=0)),
        ("channel=cy5&projection=middle", STACK[0, 2, 2]),
        ("channel=DAPI&z=4&t=1", STACK[1, 4, 0]),
    ],
)
def test_a_place_names_channel_slice_time_and_projection(stack: Path, place: str, plane: np.ndarray) -> None:
    assert np.array_equal(open_image(f"{stack}#{place}"), array_to_rgb(plane))


def test_channels_are_shown_together_each_in_its_colour(stack: Path) -> None:
    picture = np.asarray(open_image(stack))
    blue, green, magenta = (scale_to_uint8(STACK[0, :, c].max(axis=0)).astype(int) for c in range(3))
    assert np.array_equal(picture[..., 0], magenta)
    assert np.array_equal(picture[..., 1], green)
    assert np.array_equal(picture[..., 2], np.minimum(blue + magenta, 255))
    assert image_info(stack).width == 32


def test_a_page_is_one_of_the_file(stack: Path) -> None:
    assert np.array_equal(open_image(stack, page=4), array_to_rgb(STACK[0, 1, 1]))
    assert np.array_equal(open_image(f"{stack}#page=4"), array_to_rgb(STACK[0, 1, 1]))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("channel=RFP", "no channel 'RFP': its channels are 0 (DAPI), 1 (GFP), 2 (Cy5)"),
        ("channel=3", "no channel '3'"),
        ("z=5", "slice 5 does not exist: the stack has 5"),
        ("t=2", "time point 2 does not exist"),
        ("projection=sum", "projection 'sum' is unknown"),
        ("slide=2", "has no part 'slide'"),
    ],
)
def test_what_is_not_there_is_told(stack: Path, place: str, message: str) -> None:
    with pytest.raises(ImageError) as error:
        open_image(f"{stack}#{place}")
    assert message in str(error.value)
    assert str(error.value).startswith(str(stack))


def test_compressed_and_large_endian_stacks_are_read(tmp_path: Path) -> None:
    path = ome_stack(tmp_path / "z.ome.tif", compression="zlib", byteorder=">")
    assert np.array_equal(open_image(f"{path}#channel=GFP&z=1"), array_to_rgb(STACK[0, 1, 1]))


def test_a_stack_behind_one_header_is_read(tmp_path: Path) -> None:
    # as ImageJ writes more than 4 GB: the first page, and the pixels of all behind it
    whole = imagej_stack(tmp_path / "s.tif")
    with tifffile.TiffFile(whole) as file:
        first = file.pages.first
        at = first.offset + 2 + 12 * len(first.tags)
    data = bytearray(whole.read_bytes())
    data[at : at + 4] = bytes(4)  # no next page
    cut = tmp_path / "virtual.tif"
    cut.write_bytes(data)
    with tifffile.TiffFile(cut) as file:
        assert len(file.pages) == 1
    assert np.array_equal(open_image(f"{cut}#channel=Cy5&z=3&t=1"), array_to_rgb(STACK[1, 3, 2]))


def test_one_plane_is_read_as_the_picture_that_it_is(tmp_path: Path) -> None:
    path = tmp_path / "one.ome.tif"
    tifffile.imwrite(
        path, STACK[0, 0, 0], ome=True, metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    )
    assert np.array_equal(open_image(path), array_to_rgb(STACK[0, 0, 0]))
    found = read_info(path)
    assert found is not None
    assert found[0].to_extra() == {"pixel_size_um": [0.5, 0.5]}


def test_colours_come_from_the_file_then_the_stain_then_the_wavelength_then_a_palette() -> None:
    given = Channel("DAPI", colour=(255, 128, 0))
    channels = (
        given,
        Channel("Hoechst 33342"),
        Channel("AF647"),
        Channel("x", emission_nm=520),
        Channel("y"),
        Channel(),
    )
    assert channel_colours(channels) == [(255, 128, 0), BLUE, MAGENTA, GREEN, RED, GREY]
    assert channel_colours((given,)) == [GREY]


@pytest.mark.parametrize(
    ("name", "colour"),
    [("Alexa Fluor 488", GREEN), ("AF 594", RED), ("mCherry", RED), ("EGFP", GREEN), ("Brightfield", GREY)],
)
def test_usual_stains_are_known(name: str, colour: tuple[int, int, int]) -> None:
    assert channel_colours((Channel(name), Channel("q")))[0] == colour


def test_transmitted_light_is_left_out_beside_fluorescence() -> None:
    channels = (Channel("Phase contrast"), Channel("GFP"), Channel("RFP"))
    assert choose(channels, "") == [1, 2]
    assert choose(channels[:1], "") == [0]
    assert choose(channels, "phase contrast, 2") == [0, 2]


def test_ome_colours_are_signed_and_white_means_none() -> None:
    xml = """<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Instrument><Objective
        NominalMagnification="40"/></Instrument><Image><Pixels SizeX="1" SizeY="1" SizeC="3" SizeZ="4" SizeT="2">
        <Channel Name="a" Color="-16776961"/><Channel Color="-1" Fluor="GFP"/><Channel EmissionWavelength="461.5"/>
        </Pixels></Image></OME>"""
    info, planes = parse_ome(xml)
    assert planes == 24
    assert info.magnification == 40
    assert info.channels == (Channel("a", RED), Channel("GFP"), Channel("", None, 461.5))


@pytest.mark.parametrize(
    "xml",
    [
        '<!DOCTYPE a [<!ENTITY b "c">]><OME><Image><Pixels/></Image></OME>',
        "<OME><Image></OME>",
        "<OME/>",
    ],
)
def test_xml_that_is_no_ome_is_refused(xml: str) -> None:
    with pytest.raises(ImageError, match="broken OME-XML"):
        parse_ome(xml)


def test_a_header_that_promises_more_planes_than_there_are_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "bomb.ome.tif"
    xml = tifffile.OmeXml()
    xml.addimage("uint16", (1, 1, 1, 24, 32), (1, 1, 1, 24, 32, 1), axes="TZCYX")
    text = xml.tostring().replace('SizeT="1"', 'SizeT="1000000000"')
    assert "1000000000" in text
    tifffile.imwrite(path, STACK[0, 0, 0], description=text.encode(), metadata=None)
    assert read_info(path) is None
    assert np.array_equal(open_image(path), array_to_rgb(STACK[0, 0, 0]))


def test_a_file_of_a_set_is_read_alone(tmp_path: Path) -> None:
    # a name in the header must not open another file
    path = ome_stack(tmp_path / "s.ome.tif")
    with tifffile.TiffFile(path) as file:
        text = file.ome_metadata or ""
    text = text.replace('SizeT="2"', 'SizeT="40"')
    part = tmp_path / "part.ome.tif"
    tifffile.imwrite(part, STACK[0, 0, 0], description=text.encode(), metadata=None)
    assert np.array_equal(open_image(part), array_to_rgb(STACK[0, 0, 0]))


def test_views_refuse_an_unknown_projection() -> None:
    with pytest.raises(ImageError, match="max, mean, middle"):
        View(projection="median")
