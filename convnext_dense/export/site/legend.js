// The list beside the picture: classes with their share, or objects with their score, each of which can be hidden.

import { colourOf, css } from './draw.js';

/** Rows {key, name, value, colour} of a result; objects from `least` up. */
export function rowsOf(result, meta, least) {
  if (result.task === 'detection') {
    const found = result.objects.filter((object) => object.score >= least);
    return found.map((object) => ({
      key: object,
      name: meta.classes[object.label],
      value: object.score.toFixed(2),
      colour: colourOf(object, meta),
    }));
  }
  const pixels = result.width * result.height;
  const classes = [...result.counts].filter(([label]) => label < meta.classes.length);
  classes.sort((one, other) => other[1] - one[1] || one[0] - other[0]);
  return classes.map(([label, count]) => ({
    key: label,
    name: meta.classes[label],
    value: percent(count / pixels),
    colour: meta.palette[label],
  }));
}

export function percent(share) {
  return share > 0 && share < 0.001 ? '< 0.1 %' : `${(100 * share).toFixed(1)} %`;
}

/** Fills the list; onToggle(key, shown). */
export function fillLegend(list, rows, hidden, onToggle) {
  list.replaceChildren(...rows.map((row) => entry(row, !hidden.has(row.key), onToggle)));
}

function entry({ key, name, value, colour }, shown, onToggle) {
  const box = Object.assign(document.createElement('input'), { type: 'checkbox', checked: shown });
  box.addEventListener('change', () => onToggle(key, box.checked));
  const label = document.createElement('label');
  label.append(box, span('swatch', ''), span('name', name), span('value', value));
  label.querySelector('.swatch').style.backgroundColor = css(colour);
  const item = document.createElement('li');
  item.append(label);
  return item;
}

function span(kind, text) {
  return Object.assign(document.createElement('span'), { className: kind, textContent: text });
}
