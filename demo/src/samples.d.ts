// Owns the type of a sample that is taken in as text.
declare module 'sample:*' {
  const text: string;
  export default text;
}
