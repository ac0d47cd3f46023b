// Tiles of a slide for OpenSeadragon, which is loaded only here.

import { picture } from "./api.js";
import { h } from "./dom.js";
import { trusted } from "./trusted.js";

let loaded = null;

/** `{OpenSeadragon, Source}`: the library, and a source of tiles for it made from a pyramid's levels. */
export async function library() {
  if (loaded) return loaded;
  await new Promise((resolve, reject) => {
    document.head.append(h("script", { src: trusted("openseadragon/openseadragon.min.js"), onload: resolve, onerror: () => reject(new Error("A part of the page could not be loaded.")) }));
  });
  const { OpenSeadragon } = window;
  // It would add an inline style, which the page's policy keeps out, unless it finds one: this is one in name only.
  const marker = document.createElementNS("", "style");
  marker.setAttribute("data-openseadragon-mobile-css", "");
  document.head.append(marker);

  class Source extends OpenSeadragon.TileSource {
    constructor(levels) {
      const base = levels.at(-1);
      super({ width: base.columns, height: base.rows, tileSize: base.tileColumns, minLevel: 0, maxLevel: levels.length - 1 });
      this.levels = levels;
    }

    getLevelScale(level) {
      return this.levels[level].columns / this.levels.at(-1).columns;
    }

    getTileWidth(level) {
      return this.levels[level].tileColumns;
    }

    getTileHeight(level) {
      return this.levels[level].tileRows;
    }

    getNumTiles(level) {
      return new OpenSeadragon.Point(this.levels[level].across, this.levels[level].down);
    }

    tileExists(level, column, row) {
      return super.tileExists(level, column, row) && this.levels[level].tile(column, row) !== null;
    }

    getTileUrl(level, column, row) {
      return this.levels[level].tile(column, row) ?? "";
    }

    hasTransparency() {
      return false;
    }

    downloadTileStart(job) {
      const stop = new AbortController();
      job.userData.stop = stop;
      picture(job.src, {}, stop.signal).then((blob) => job.finish(blob, null, "rasterBlob")).catch((error) => job.fail(error.message, null));
    }

    downloadTileAbort(job) {
      job.userData.stop.abort();
    }
  }

  loaded = { OpenSeadragon, Source };
  return loaded;
}
