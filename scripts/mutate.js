/** The small changes that scripts/mutants.js tries: finds them in the text of one source. */
import ts from 'typescript';

const K = ts.SyntaxKind;
const operators = new Map([
  [K.LessThanToken, '<='],
  [K.LessThanEqualsToken, '<'],
  [K.GreaterThanToken, '>='],
  [K.GreaterThanEqualsToken, '>'],
  [K.EqualsEqualsEqualsToken, '!=='],
  [K.ExclamationEqualsEqualsToken, '==='],
  [K.AmpersandAmpersandToken, '||'],
  [K.BarBarToken, '&&'],
  [K.PlusToken, '-'],
  [K.MinusToken, '+'],
  [K.PlusEqualsToken, '-='],
  [K.MinusEqualsToken, '+='],
  [K.QuestionQuestionEqualsToken, '='],
]);

/** @returns `{ file, line, start, end, before, replacement }` of each mutant of a file */
export function mutantsOf(file, text) {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ESNext, true);
  const found = [];
  const add = (node, replacement, from = node.getStart(source), to = node.getEnd()) => {
    const line = source.getLineAndCharacterOfPosition(from).line + 1;
    found.push({ file, line, start: from, end: to, before: text.slice(from, to), replacement });
  };
  const visit = (node) => {
    if (isLeftAlone(node, source)) return;
    if (ts.isBinaryExpression(node)) {
      const operator = operators.get(node.operatorToken.kind);
      if (operator !== undefined && !isText(node)) add(node.operatorToken, operator);
      if (node.operatorToken.kind === K.QuestionQuestionToken) add(node, node.left.getText(source));
    } else if (ts.isIfStatement(node) || ts.isWhileStatement(node)) {
      add(node.expression, `!(${node.expression.getText(source)})`);
    } else if (ts.isConditionalExpression(node)) {
      add(node.condition, `!(${node.condition.getText(source)})`);
    } else if (ts.isPostfixUnaryExpression(node)) {
      add(node, `${node.operand.getText(source)}${node.operator === K.PlusPlusToken ? '--' : '++'}`);
    } else if (node.kind === K.TrueKeyword || node.kind === K.FalseKeyword) {
      if (!ts.isLiteralTypeNode(node.parent)) add(node, node.kind === K.TrueKeyword ? 'false' : 'true');
    } else if (ts.isExpressionStatement(node)) {
      add(node, ';');
    } else if (isVoidFunction(node) && node.body.statements.length > 0) {
      add(node.body, '{}');
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** Types and what only a bug of ours reaches. Texts of errors are compared elsewhere. */
function isLeftAlone(node, source) {
  if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return true;
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node) || ts.isTemplateExpression(node)) return true;
  const call = ts.isExpressionStatement(node) || ts.isReturnStatement(node) ? node.expression : node;
  return (
    call !== undefined &&
    ts.isCallExpression(call) &&
    /^(assert|assertNever|super)$/.test(call.expression.getText(source))
  );
}

function isText(node) {
  return (
    [node.left, node.right].some((side) => ts.isStringLiteralLike(side) || ts.isTemplateExpression(side)) &&
    node.operatorToken.kind === K.PlusToken
  );
}

function isVoidFunction(node) {
  return (
    (ts.isMethodDeclaration(node) || ts.isFunctionDeclaration(node)) &&
    node.body !== undefined &&
    node.type?.kind === K.VoidKeyword
  );
}
