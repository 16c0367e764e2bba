//! QR codes of short links, as SVG and as PNG.
//!
//! Pure: it draws a text and neither knows links nor reads anything. Called by `api/qr.rs`.

use qrcodegen::{QrCode, QrCodeEcc};

/// Pixels of a side at least.
pub const SMALLEST: u32 = 64;

/// Pixels of a side at most.
pub const LARGEST: u32 = 4096;

/// Pixels of a side, if nobody says how many.
pub const USUAL: u32 = 512;

/// Modules of white around it at most.
pub const WIDEST_MARGIN: u32 = 16;

/// Modules of white around it that the standard (ISO/IEC 18004) asks for.
pub const USUAL_MARGIN: u32 = 4;

/// How much of it may be damaged or covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// 7 %.
    Low,
    /// 15 %.
    Medium,
    /// 25 %.
    Quartile,
    /// 30 %.
    High,
}

impl Level {
    /// The level with this letter: `L`, `M`, `Q` or `H`.
    pub fn of(letter: &str) -> Option<Level> {
        match letter {
            "L" => Some(Level::Low),
            "M" => Some(Level::Medium),
            "Q" => Some(Level::Quartile),
            "H" => Some(Level::High),
            _ => None,
        }
    }

    /// Its letter.
    pub fn letter(self) -> char {
        match self {
            Level::Low => 'L',
            Level::Medium => 'M',
            Level::Quartile => 'Q',
            Level::High => 'H',
        }
    }
}

/// A QR code with white around it.
pub struct Drawing {
    code: QrCode,
    /// Modules of a side, without the margin.
    modules: u32,
    margin: u32,
}

/// Why there is no drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDrawn {
    /// The text does not fit into any QR code.
    #[error("the short link is too long for a QR code")]
    TooLong,
    /// A module would be smaller than a pixel; with the pixels that are needed.
    #[error("this code needs {0} pixels at least")]
    TooSmall(u32),
}

impl Drawing {
    /// Draws a text. The level is raised where that costs no room.
    ///
    /// # Errors
    /// `TooLong`.
    pub fn new(text: &str, level: Level, margin: u32) -> Result<Drawing, NotDrawn> {
        let level = match level {
            Level::Low => QrCodeEcc::Low,
            Level::Medium => QrCodeEcc::Medium,
            Level::Quartile => QrCodeEcc::Quartile,
            Level::High => QrCodeEcc::High,
        };
        let code = QrCode::encode_text(text, level).map_err(|_| NotDrawn::TooLong)?;
        let modules = code.size().unsigned_abs();
        Ok(Drawing { code, modules, margin: margin.min(WIDEST_MARGIN) })
    }

    /// Modules of a side, with the margin.
    pub fn side(&self) -> u32 {
        self.modules + 2 * self.margin
    }

    /// As SVG, `size` pixels wide unless it is scaled.
    pub fn svg(&self, size: u32) -> String {
        let side = self.side();
        let mut path = String::new();
        for y in 0..self.modules {
            let mut x = 0;
            while x < self.modules {
                let run = (x..self.modules).take_while(|x| self.is_dark(*x, y)).count();
                if run > 0 {
                    let (left, top) = (x + self.margin, y + self.margin);
                    path += &format!("M{left} {top}h{run}v1h-{run}z");
                }
                x += u32::try_from(run).unwrap_or(self.modules) + 1;
            }
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{size}\" height=\"{size}\" \
             viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
             <path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/>\
             <path fill=\"#000\" d=\"{path}\"/></svg>\n"
        )
    }

    /// As PNG, black and white, `size` pixels wide: modules are whole pixels, and what is left over
    /// is added to the margin.
    ///
    /// # Errors
    /// `TooSmall`.
    pub fn png(&self, size: u32) -> Result<Vec<u8>, NotDrawn> {
        let size = size.min(LARGEST);
        // Where even that is too much, the margin gives way.
        let pixels = (size / self.side()).max(1);
        if self.modules > size {
            return Err(NotDrawn::TooSmall(self.modules));
        }
        let before = (size - self.modules * pixels) / 2;
        let row_bytes = size.div_ceil(8) as usize;
        // A bit a pixel, the first the highest; 1 is white.
        let mut data = vec![0xff; row_bytes * size as usize];
        let mut rows = data.chunks_exact_mut(row_bytes).skip(before as usize);
        for y in 0..self.modules {
            let mut row = vec![0xff_u8; row_bytes];
            for column in before..before + self.modules * pixels {
                if self.is_dark((column - before) / pixels, y) {
                    row[column as usize / 8] &= !(0x80 >> (column % 8));
                }
            }
            // All rows of pixels of a row of modules are alike.
            for place in rows.by_ref().take(pixels as usize) {
                place.copy_from_slice(&row);
            }
        }
        let mut png = Vec::new();
        let mut encoder = png::Encoder::new(&mut png, size, size);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::One);
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(&data)?;
            writer.finish()
        });
        written.expect("memory takes it, and there are as many bytes as the head says");
        Ok(png)
    }

    fn is_dark(&self, x: u32, y: u32) -> bool {
        match (i32::try_from(x), i32::try_from(y)) {
            (Ok(x), Ok(y)) => self.code.get_module(x, y),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawing(margin: u32) -> Drawing {
        Drawing::new("https://sn.ip/aZ3kQ9x", Level::Medium, margin).expect("it fits")
    }

    /// The modules of a picture as they are in the code, with the margin.
    fn modules(drawing: &Drawing) -> Vec<Vec<bool>> {
        let (side, margin) = (drawing.side(), drawing.margin);
        let is_dark = |x: u32, y: u32| match (x.checked_sub(margin), y.checked_sub(margin)) {
            (Some(x), Some(y)) => drawing.is_dark(x, y),
            _ => false,
        };
        (0..side).map(|y| (0..side).map(|x| is_dark(x, y)).collect()).collect()
    }

    #[test]
    fn the_png_has_the_modules_and_the_size() {
        for (margin, size) in [(4, 512), (0, 64), (2, 333), (16, 4096)] {
            let drawing = drawing(margin);
            let png = drawing.png(size).expect("it is large enough");
            let mut reader =
                png::Decoder::new(std::io::Cursor::new(&png)).read_info().expect("a PNG");
            assert_eq!((reader.info().width, reader.info().height), (size, size));
            let mut data = vec![0; reader.output_buffer_size().expect("it fits")];
            reader.next_frame(&mut data).expect("pixels");
            let pixels = size / drawing.side();
            let first = (size - drawing.modules * pixels) / 2 - margin * pixels;
            let row_bytes = size.div_ceil(8) as usize;
            for (y, row) in modules(&drawing).iter().enumerate() {
                for (x, is_dark) in row.iter().enumerate() {
                    let at = |module: usize| {
                        first as usize + module * pixels as usize + pixels as usize / 2
                    };
                    let byte = data[at(y) * row_bytes + at(x) / 8];
                    assert_eq!(byte & (0x80 >> (at(x) % 8)) == 0, *is_dark, "{x} {y}");
                }
            }
        }
    }

    #[test]
    fn the_svg_has_the_modules() {
        let drawing = drawing(3);
        let svg = drawing.svg(300);
        let side = drawing.side() as usize;
        let head = format!("width=\"300\" height=\"300\" viewBox=\"0 0 {side} {side}\"");
        assert!(svg.contains(&head), "{svg}");
        let path = svg.rsplit("d=\"").next().and_then(|it| it.split('"').next()).expect("a path");
        let mut drawn = vec![vec![false; side]; side];
        for run in path.split('M').skip(1) {
            let (x, rest) = run.split_once(' ').expect("x and y");
            let (y, rest) = rest.split_once('h').expect("y and a run");
            let (length, rest) = rest.split_once('v').expect("a run and its height");
            assert_eq!(rest, format!("1h-{length}z"));
            let number = |text: &str| text.parse::<usize>().expect("a number");
            drawn[number(y)][number(x)..][..number(length)].fill(true);
        }
        assert_eq!(drawn, modules(&drawing));
    }

    #[test]
    fn what_cannot_be_drawn_is_said() {
        let long = format!("https://sn.ip/{}", "x".repeat(3000));
        assert_eq!(Drawing::new(&long, Level::Low, 4).err(), Some(NotDrawn::TooLong));
        let tight = Drawing::new("https://sn.ip/spring-sale", Level::High, 16).expect("it fits");
        assert!(tight.side() > 64 && tight.png(64).is_ok(), "the margin gives way");
        let large = Drawing::new(&long[..500], Level::High, 16).expect("it fits");
        assert_eq!(large.png(64).err(), Some(NotDrawn::TooSmall(large.modules)));
    }
}
